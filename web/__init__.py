"""The player: a second decoder, in JavaScript, and the web pages that are made with it.

`modules` finds what the page runs, `compact` makes small model files, `site` puts a page together
with files and models, `single_page` makes one document of that, `server` shows it on this machine.
docs/WEB.md tells of the player.
"""

from pathlib import Path

ROOM = Path(__file__).parent
"""Of the page and its modules."""
