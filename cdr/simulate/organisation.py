"""The simulated customer: its extensions, agents, ACD queues, numbers and IVR, the same in every run."""

# ruff: noqa: RUF001 - Hebrew letters that look like Latin ones are meant

from __future__ import annotations

import random
import string
from typing import NamedTuple


class Extension(NamedTuple):
    """A telephone of the organisation and the agent who sits at it; all texts are empty for nobody."""

    code: str
    name: str
    agent_code: str
    agent_name: str


class AcdQueue(NamedTuple):
    """A queue of waiting callers; the provider sends id 0 and no name where there is none."""

    queue_id: int
    name: str


class IvrLayer(NamedTuple):
    """A menu of the IVR that a caller may pass."""

    layer_id: int
    name: str
    number: int


NOBODY = Extension("", "", "", "")
# The provider names a machine as the representative when no person took part.
EXTERNAL_IVR = Extension("", "", "", "External IVR")
NO_QUEUE = AcdQueue(0, "")

_AGENTS = (
    "נועה לוי", "Walter Melon", "יוסי כהן", "Maya Stern", "אבי מזרחי", "Dana O'Neil", "רונית פרץ", "Oleg Petrov",
    "תמר ביטון", "Sarah Katz", "משה אברהם", "Yara Haddad", "שירה פרידמן", "Tom Berg", "איתי דהן", "Lina Mansour",
    "גל אזולאי", "Eva Novak", "דוד גבאי", "Amit Rosen", "מיכל חדד", "Ben Carmi", "עומר שפירא", "Nadia Saleh",
    "יעל אוחיון", "Rami Awad", "ליאור סגל", "Irina Volkov", "הילה ברק", "Noam Adler", "אורי קליין", "Keren Paz",
    "ענת גולן", "Daniel Weiss", "רועי נחום", "Gil Shaked", "סיוון עמר", "Ella Marom", "נדב הראל", 'Zoe "Z" Levin',
)  # fmt: skip


def _extensions() -> tuple[Extension, ...]:
    """Give each agent a SIP code of eight letters, drawn once from a fixed seed."""
    rng = random.Random("the organisation's extensions")  # noqa: S311 - codes of a play, not secrets
    return tuple(
        # Some representative codes end in a blank, as in the provider's specification.
        Extension("".join(rng.choices(string.ascii_letters, k=8)), agent, f"{9001 + i}{' ' * (i % 5 == 0)}", agent)
        for i, agent in enumerate(_AGENTS)
    )


EXTENSIONS = _extensions()
QUEUES = (
    AcdQueue(12345, "Service Queue"),
    AcdQueue(12346, "מכירות"),
    AcdQueue(12351, "תמיכה טכנית"),
    AcdQueue(12360, "Billing & Collections"),
    AcdQueue(12377, "שירות לקוחות - צפון"),
    AcdQueue(12402, "VIP <24/7>"),
)
DIDS = ("0722776772", "0722776773", "0772255501", "037771000", "097771001", "1700555012", "0747550100", "0722776780")
IVR_LAYERS = (
    IvrLayer(8650, "Main menu", 1),
    IvrLayer(8651, "תפריט שירות", 2),
    IvrLayer(8851, "1 אבן גבירול", 3),
    IvrLayer(8869, "Store List DTMF", 2001),
)
