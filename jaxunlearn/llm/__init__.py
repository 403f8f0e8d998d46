"""Questions to a language model behind any OpenAI-compatible endpoint: concurrent, resumable, no reply paid for twice.

endpoint     ask(requests, endpoint, journal) -> Answers; retries, waits, and what ends a run
journal      replies.jsonl and malformed.jsonl: every settled question is on the disk before the next is asked
secrets      where a key may stand, and where it is blotted out
replies      an HTTP reply -> text and usage; a text -> the first value in it that fits a schema

Data flow: a Request has a key (a hash of its content); ask sends those whose keys the journal lacks and returns a
value for each request. The dictionary is built with it (anchors/building/build), and completions are graded.
"""
