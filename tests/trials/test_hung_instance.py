"""A service that hangs, as the clients of a gateway see it: their turns are answered all the same."""

import signal
from concurrent.futures import ThreadPoolExecutor

from tests.e2e.formats import FORMATS, OPENAI, RESPONSES
from tests.e2e.installation import Gateway, until

FORMS = [(wire, stream) for wire in (*FORMATS, RESPONSES) for stream in (False, True)]


def test_turns_of_hung_process_move_to_the_next(tmp_path, template):
    with Gateway(tmp_path, template) as gateway, ThreadPoolExecutor(len(FORMS)) as pool:
        hung = gateway.lingma()
        asked = [
            pool.submit(gateway.ask, wire, f"[[sim: text=whole first_ms=4000]] hung {number}", stream=stream)
            for number, (wire, stream) in enumerate(FORMS)
        ]
        until(lambda: len(gateway.asks("hung")) >= len(FORMS))
        hung.send_signal(signal.SIGSTOP)
        answers = [each.result() for each in asked]
        assert [(answer.status, answer.text) for answer in answers] == [(200, "whole")] * len(FORMS)
        assert not hung.is_running()
        assert len({answer.headers["x-request-id"] for answer in answers} & gateway.rows().keys()) == len(FORMS)
        assert gateway.ask(OPENAI, "[[sim: text=well]] x").text == "well"
        told = [line for line in gateway.output().splitlines() if "w1-i1" in line and "does not answer" in line]
        assert len(told) == 1
    assert gateway.left_behind == []
