/* The document: read once, changed by what the server sends. */

/** The document of an element of this page (`#id`) or of an address. */
async function readDocument(source) {
  if (source.startsWith("#")) return JSON.parse(document.querySelector(source).textContent);
  const answer = await fetch(source);
  if (!answer.ok) throw new Error("the server answered " + answer.status);
  return answer.json();
}

/** The document with changes applied: `set` replaces whole keys, `append` lengthens columns. */
function applyChanges(whole, changes) {
  Object.assign(whole, changes.set || {});
  const append = changes.append || {};
  const { frames, links, virtual } = append;
  if (frames) whole.frames.push(...frames);
  for (const key of ["nodes", "curves", "peer_curves"]) {
    for (const [name, columns] of Object.entries(append[key] || {})) appendColumns(entry(whole[key], name), columns);
  }
  if (links) appendColumns(whole.links, links);
  if (virtual) appendColumns(whole.virtual, virtual);
  return whole;
}

function entry(entries, name) {
  const found = entries.find((each) => each.name === name);
  if (!found) throw new Error("changes name an unknown entry");
  return found;
}

function appendColumns(target, columns) {
  for (const [column, values] of Object.entries(columns)) {
    if (!values) continue;
    for (const value of values) target[column].push(value); // a spread of many thousands overflows the stack
  }
}

/** Wait before another connection, and before data are fetched where the server sends none by itself, milliseconds. */
const RECONNECT_AFTER = 1000;
const FETCH_AFTER = 1500;

/**
 * The document of an element, kept up to date where the element names events.
 * `show(document, changes)` is called for each state, changes being null for a whole document;
 * `contact(kept)` whenever the connection comes or goes.
 */
function follow(element, show, contact) {
  const { source, events } = element.dataset;
  if (!events) {
    readDocument(source).then((whole) => show(whole, null), (problem) => contact(false, problem));
    return;
  }
  let whole = null;
  const take = (next, changes) => show((whole = next), changes);
  const connect = () => {
    const stream = new EventSource(events);
    stream.addEventListener("open", () => contact(true));
    stream.addEventListener("document", (event) => take(JSON.parse(event.data), null));
    stream.addEventListener("change", (event) => {
      const changes = JSON.parse(event.data);
      if (whole) take(applyChanges(whole, changes), changes);
    });
    stream.addEventListener("error", () => {
      contact(false);
      if (stream.readyState === EventSource.CLOSED) setTimeout(connect, RECONNECT_AFTER); // else it tries by itself
    });
  };
  connect();
  setTimeout(() => {
    if (!whole) readDocument(source).then((next) => whole || take(next, null), () => contact(false));
  }, FETCH_AFTER);
}
