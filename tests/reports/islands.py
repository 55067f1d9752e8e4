"""Reads the data in an HTML report, as docs/report.md describes it; written apart from the writer and the script."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

_SLOTS = "\ue000\ue001\ue002\ue003\ue004"
_TIME = "\ue005"


def island(text, name):
    return re.search(rf'<script type="[a-z/]+" id="{name}">(.*?)</script>', text, re.DOTALL).group(1)


class Report:
    """The index, and each host's details by its place in the order of names."""

    def __init__(self, text):
        self.index = json.loads(island(text, "index"))
        self.detail = json.loads(island(text, "detail"))
        self._certificates = island(text, "certificates").split("\n")
        self.names = self.index["names"].split("\r") if self.index["kind"] else []
        self._extras = [extra.split("\f") for extra in self.index["extras"].split("\r")]

    def others(self, place):
        return [address for address in self._extras[self.index["extra"][place]][0].split("\v") if address]

    def kind(self, place):
        return self.index["kinds"][self.index["kind"][place]]

    def has_detail(self, place):
        return self.detail["form"][place] >= 0

    def host(self, place):
        """Return {"host", "findings"} as it was before it was taken apart."""
        values = dict(zip(_SLOTS, [self.names[place], *self.others(place)], strict=False))
        times = self._times(place)

        def fill(text):
            if text == _TIME:
                return next(times)
            return "".join(values.get(character, character) for character in text)

        whole = self._unpack(self.detail["form"][place], fill)
        first = self.detail["certificate"][place]
        numbers = iter([first, *self.detail["more"].get(str(place), [])] if first >= 0 else [])
        for endpoint in whole["host"]["endpoints"]:
            endpoint["certificates"] = [self._certificate(next(numbers)) for _ in range(endpoint["certificates"])]
        for path in whole["host"]["paths"]:
            for member in ("certificates", "direct_certificates"):
                path[member] = [self._certificate(next(numbers)) for _ in range(path[member])]
        assert list(numbers) == []
        assert list(times) == []
        return whole

    def _times(self, place):
        base_s = self.detail["base"][place]
        pattern = self.detail["patterns"][self.detail["pattern"][place]]
        for run in filter(None, pattern.split(",")):
            after_s, count = map(int, run.split("*"))
            at = datetime.fromtimestamp(base_s + after_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            yield from [at] * count

    def _certificate(self, number):
        rest, subject, not_before, not_after, sha256, names = json.loads(self._certificates[number])
        if isinstance(rest, int):
            rest = self._unpack(self.detail["rests"][rest], str)
        return {
            **rest,
            "subject": subject,
            "not_before": not_before,
            "not_after": not_after,
            "sha256": sha256,
            "names": names,
        }

    def _unpack(self, number, fill):
        node = self.detail["nodes"][number]
        if isinstance(node, str):
            return fill(node)
        if not isinstance(node, list):
            return node
        shape, *members = node
        if shape == -1:
            return [self._unpack(member, fill) for member in members]
        return {
            fill(name): self._unpack(member, fill)
            for name, member in zip(self.detail["shapes"][shape], members, strict=True)
        }
