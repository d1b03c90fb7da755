from __future__ import annotations

from cdr.simulate.calls import CallFactory
from cdr.simulate.traffic import SentCdr, make_posts
from common.wire import Fields, read_body


def test_every_simulated_body_is_read_as_the_cdrs_that_its_post_claims() -> None:
    for post in make_posts(CallFactory(21), 21, "mixed", 5000):
        elements = read_body(post.body, post.content_type).elements
        assert tuple(identity(element) for element in elements if isinstance(element, Fields)) == post.cdrs


def identity(element: Fields) -> SentCdr:
    fields = element.fields
    return SentCdr(
        str(fields["ivruniqueid"]),
        str(fields["type"]),
        int(str(fields["time"])),
        str(fields["callerextension"]),
        str(fields["targetextension"]),
    )
