"""The style of the pictures; that they are the same bytes each time stands in test_page.py."""

import re


def test_svg_colours_follow_the_page(html):
    drawn = "".join(re.findall(r"<svg.*?</svg>", html, re.DOTALL))
    assert set(re.findall(r"#[0-9a-f]{6}\b", drawn)) == set()
    used = set(re.findall(r"var\(--(\w+)\)", drawn))
    assert {"muted", "grid", "c0", "c2", "c7"} <= used
    assert all(len(re.findall(rf"--{name}: #", html)) == 2 for name in used)  # once light, once dark
