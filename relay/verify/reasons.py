# sans-I/O
"""The reasons for refusing a message: each has a name for the counters and the log, and a sentence for the operator."""

from enum import StrEnum


class Reason(StrEnum):
    """A reason. The names are also metric labels: never rename one, never put anything of the message into one."""

    OVERSIZED = "oversized"
    NOT_CBOR = "not_cbor"
    BAD_STRUCTURE = "bad_structure"
    BAD_HEADER = "bad_header"
    WRONG_TOPIC = "wrong_topic"
    UNKNOWN_KID = "unknown_kid"
    REVOKED = "revoked"
    REPLAY = "replay"
    GAP = "gap"
    BAD_TAG = "bad_tag"
    BAD_SIGNATURE = "bad_signature"
    BAD_PAYLOAD = "bad_payload"
    FLOOD = "flood"
    INTERNAL = "internal"


SENTENCES: dict[Reason, str] = {
    Reason.OVERSIZED: "The message is longer than 140 octets; no bracelet sends that.",
    Reason.NOT_CBOR: "The message is not CBOR, or not the deterministic subset that bracelets speak.",
    Reason.BAD_STRUCTURE: "The message is CBOR, but not a message of this wire format.",
    Reason.BAD_HEADER: "The message names another algorithm, or its key id or counter is malformed.",
    Reason.WRONG_TOPIC: "The message came on another bracelet's topic.",
    Reason.UNKNOWN_KID: "No provisioned bracelet has this key id.",
    Reason.REVOKED: "The bracelet was revoked.",
    Reason.REPLAY: "The counter was used before by a different message, or its key was dropped.",
    Reason.GAP: "The counter is too far ahead of the last one seen, or too many such messages came at once.",
    Reason.BAD_TAG: "The authentication tag is wrong: damaged, forged, or sealed for another relay, bracelet or topic.",
    Reason.BAD_SIGNATURE: "The bracelet's signature is wrong.",
    Reason.BAD_PAYLOAD: "Tag and signature are good, but the content does not follow the grammar.",
    Reason.FLOOD: "Its account sent far more than a bracelet does; the message was let go without being looked at.",
    Reason.INTERNAL: "The relay failed on this message; its log has the kind of error. The bracelet sends it again.",
}


class Refused(Exception):
    """The refusal of a message. No state has moved."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(SENTENCES[reason])
        self.reason = reason
