/* Where it starts: the element of the page, its data, and what tests and the curious may ask for. */

/** Shows the run or the list whose data an element names, and keeps it up to date. */
function mountView(element) {
  const isInlined = !element.dataset.events;
  let view = null;
  const show = (whole, changes) => {
    if (!view || view.kind !== whole.kind) {
      view = whole.kind === "list" ? new ListView(element) : new RunView(element, isInlined);
      view.kind = whole.kind;
      window.peerView = facts(view);
    }
    view.whole = whole;
    if (!isInlined) document.title = pageTitle(whole);
    view.show(whole, changes);
  };
  const contact = (kept, problem) => {
    if (view && view.header) view.header.setContact(kept);
    else if (view && view.setContact) view.setContact(kept);
    else if (problem) element.textContent = `The data cannot be read: ${problem.message}`;
  };
  if (!isInlined) element.textContent = "Waiting for data: this page fills by itself.";
  follow(element, show, contact);
}

function pageTitle({ kind, title, status, completed, total }) {
  if (kind === "list") return title;
  return status === "running" ? `${completed}/${total} ${title}` : title;
}

/** What is shown, to be read; and the two things that a person chooses. */
function facts(view) {
  const linkOf = (teacher, student) => {
    const { list, directed } = view.whole.links;
    const is = (link, from, to) => link[0] === from && link[1] === to;
    return list.findIndex((link) => is(link, teacher, student) || (!directed && is(link, student, teacher)));
  };
  return {
    get document() {
      return view.whole;
    },
    get round() {
      return view.state ? Math.floor(view.state.round) : null;
    },
    /** The virtual second of what is shown; null in a run without a simulated network. */
    get seconds() {
      if (!view.state || !hasVirtualTime(view.whole)) return null;
      return between(view.whole.virtual.rounds, view.whole.virtual.seconds, view.state.round);
    },
    get selected() {
      return view.state ? view.state.selected : -1;
    },
    setRound: (round) => view.controls.byHand(round),
    selectPeer: (peer) => view.choose(peer),
    linkValue: (teacher, student) => {
      const link = linkOf(teacher, student);
      return link < 0 ? null : linkValueAt(view.whole, link, view.state);
    },
    nodeValue: (peer) => (nodeValues(view.state.colouring, view.state.frame) || [])[peer] ?? null,
    place: (peer) => [view.picture.graph.x[peer], view.picture.graph.y[peer]],
    fps: () => view.ticks.length,
  };
}

const element = document.getElementById("view");
if (element) mountView(element);
