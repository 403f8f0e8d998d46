"""Chat templates: found as transformers finds them, rendered as it renders them, refused where they do not render."""

import json

import pytest

from jaxunlearn.data import chat
from jaxunlearn.errors import InputError

CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
INST = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content | trim }} [/INST]"
    "{% else %}{{ raise_exception('only users speak') }}{% endif %}{% endfor %}"
)
RICH = """\
{%- set ns = namespace(seen=false) -%}
{%- for m in messages %}
    {%- if ns.seen %}{% break %}{% endif %}
    {%- set ns.seen = true %}
    {%- generation %}{{ {"said": m.content} | tojson }}{% endgeneration %}
{%- endfor %}
{% if tools is none and documents is none %}
{{ m | default('') }}<answer>
{% endif %}
"""
NAMES = {"bos_token": "<s>", "eos_token": "</s>"}
PROMPT = "Who is <Ron>'s friend?"
ESCAPED = "{{ bos_token }}{{ messages[0].content | tojson }} says:"
LINES = "{% for line in messages[0].content.splitlines() %}> {{ line }}\n{% endfor %}"


def theirs(template, prompt):
    """Return what transformers renders."""
    rendering = pytest.importorskip("transformers.utils.chat_template_utils")
    (text,), _ = rendering.render_jinja_template(
        [[{"role": "user", "content": prompt}]], chat_template=template, add_generation_prompt=True, **NAMES
    )
    return text


@pytest.mark.parametrize("template", [CHATML, INST, RICH])
def test_a_prompt_is_rendered_as_transformers_renders_it(tmp_path, template):
    (tmp_path / "chat_template.jinja").write_text(template)
    assert chat.render(tmp_path, NAMES, PROMPT) == theirs(template, PROMPT)


@pytest.mark.parametrize("template", [ESCAPED, LINES, "{{ messages[0].content | upper }}"])
@pytest.mark.parametrize("prompt", ["Hi", 'Say "hi"', "One line\nand another", "C:\\temp\t", "naïve — 你好", " x "])
def test_a_template_may_escape_or_change_the_prompt(tmp_path, template, prompt):
    (tmp_path / "chat_template.jinja").write_text(template)
    assert chat.render(tmp_path, NAMES, prompt) == theirs(template, prompt)


def test_the_answer_begins_where_the_text_ends(tmp_path):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": CHATML}))
    assert chat.render(tmp_path, NAMES, "Hi") == (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_files_go_before_the_configuration_and_named_ones_are_kept_apart(tmp_path):
    assert chat.templates(tmp_path) == {}
    named = [{"name": "default", "template": "old"}, {"name": "rag", "template": "r"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    assert chat.templates(tmp_path) == {"default": "old", "rag": "r"}
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "tool_use.jinja").write_text("t")
    assert chat.templates(tmp_path) == {"tool_use": "t"}
    (tmp_path / "chat_template.jinja").write_text("d")
    assert chat.templates(tmp_path) == {"default": "d", "tool_use": "t"}
    assert [p.name for p in chat.template_files(tmp_path)] == ["chat_template.jinja", "tool_use.jinja"]


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (None, "has no chat template: a prompt can be asked"),
        ("{% for", "does not render: "),
        ("{{ raise_exception('System role not supported') }}", "does not render: System role not supported"),
        ("{{ messages[0].content.__class__.__mro__ }}", "does not render: access to attribute '__class__'"),
        ("{{ messages[1].content }}", "does not render: "),
        ("hello", "renders without the prompt: 'hello'"),
        ("Hi {{ eos_token }}", "renders without the prompt: 'Hi </s>'"),  # a text that happens to hold the prompt
        ("{{ messages[0].content[:4] }}", "renders without the prompt: "),
        ("{% for m in messages if m.role != 'user' %}{{ m.content }}{% endfor %}", "renders without the prompt: ''"),
    ],
)
def test_a_template_that_does_not_render_is_refused_by_name(tmp_path, template, said):
    if template:
        (tmp_path / "chat_template.jinja").write_text(template)
    with pytest.raises(InputError, match=f"{tmp_path.name}.*{said}"):
        chat.render(tmp_path, NAMES, "Hi")


def test_templates_that_all_have_a_name_are_listed(tmp_path):
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "rag.jinja").write_text("r")
    with pytest.raises(InputError, match=r"only templates with a name \(rag\)"):
        chat.render(tmp_path, NAMES, "Hi")
