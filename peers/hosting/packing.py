"""What hosts are told and answer in a round, as bytes.

Ray pickles objects by code in Python that is there for functions and classes of the user's; bytes it only copies. It
is no less safe, since Ray unpickles what these processes send, too. Large bundles stay arrays, which Ray shares on a
node.
"""

import pickle  # nosec B403
from typing import Any

from peers.hosting.postbox import Bundle

LARGEST = 64 * 1024  # bytes of a bundle's arrays; Ray keeps up to 100 KiB with the answer itself


def packed(content: Any) -> bytes:
    """Assignments or statistics, as bytes."""
    return pickle.dumps(content, protocol=5)


def packed_bundle(bundle: Bundle) -> bytes | Bundle:
    """A bundle as bytes, unless it is large."""
    return packed(bundle) if sum(part.num_bytes for part in bundle) <= LARGEST else bundle


def unpacked(content: Any) -> Any:
    """What was packed, or anything else as it is."""
    return pickle.loads(content) if isinstance(content, bytes) else content  # nosec B301
