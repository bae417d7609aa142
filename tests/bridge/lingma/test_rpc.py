"""Messages of the service, as they are written and read."""

import pytest

from bridge.lingma.errors import NotJson
from bridge.lingma.transport import rpc


def unframed(data):
    head, _, body = data.partition(b"\r\n\r\n")
    assert head == b"Content-Length: %d" % len(body)
    return body


@pytest.mark.parametrize("id_", ["0", "17", "9007199254740993", '"push-7"', '"\\u7075"', "1.5"])
def test_an_id_goes_back_exactly_as_it_came(id_):
    message = rpc.parse(b'{"jsonrpc":"2.0","id":%b,"method":"chat/answer","params":{}}' % id_.encode())
    assert rpc.wants_answer(message)
    assert unframed(rpc.acknowledgement(message)) == b'{"jsonrpc":"2.0","id":%b,"result":null}' % id_.encode()


@pytest.mark.parametrize(
    "body", [b'{"method":"x","params":{}}', b'{"id":null,"method":"x"}', b'{"id": null ,"method":"x"}']
)
def test_message_without_an_id_wants_no_answer(body):
    assert not rpc.wants_answer(rpc.parse(body))


def test_an_answer_with_content_carries_the_id():
    message = rpc.parse(b'{"id":"a","method":"tool/invoke","params":{}}')
    assert unframed(rpc.answer(message, {"success": False})) == b'{"jsonrpc":"2.0","id":"a","result":{"success":false}}'


def test_requests_and_notifications_are_framed_json_rpc():
    assert unframed(rpc.request(3, "ping", {})) == b'{"jsonrpc":"2.0","id":3,"method":"ping","params":{}}'
    assert unframed(rpc.notification("x", {"a": "灵"})) == '{"jsonrpc":"2.0","method":"x","params":{"a":"灵"}}'.encode()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"text"', b"{}{}", b'{"method":5}', b"\xff\xfe"])
def test_body_that_is_no_message_is_reported(body):
    with pytest.raises(NotJson):
        rpc.parse(body)


def test_unknown_members_are_ignored():
    assert rpc.parse(b'{"jsonrpc":"2.0","method":"m","extra":[1,{"id":2}],"trace":"x"}').method == "m"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"id":1,"error":{"code":-32601,"message":"unknown method: x"}}', "unknown method: x"),
        (b'{"id":1,"error":{"code":"E1"}}', "the service gave no reason"),
        (b'{"id":1,"error":"broken"}', "the service answered with an error of unknown shape"),
    ],
)
def test_error_keeps_the_words_of_the_service(body, words):
    assert str(rpc.error_of(rpc.parse(body))) == words


@pytest.mark.parametrize(
    "body", [b'{"id":1,"result":{}}', b'{"id":1,"result":{},"error":null}', b'{"id":1,"result":null}']
)
def test_a_result_is_no_error(body):
    assert rpc.error_of(rpc.parse(body)) is None
