"""Loading a model with its processor, from a folder or by its hub name.

Only safetensors weights are read (nothing is unpickled), and code from the hub runs only
when the config says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jinja2 import TemplateError
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    MODEL_FOR_MULTIMODAL_LM_MAPPING,
)
from transformers.utils import logging as hf_logging

from culture_neurons import hub
from culture_neurons.data import prompts
from culture_neurons.errors import ConfigError, ModelError, nearest
from culture_neurons.files import first_line, model_digest, read_json
from culture_neurons.models import templates
from culture_neurons.models.adapters import Adapter, adapt
from culture_neurons.models.allocator import keep_freed_memory
from culture_neurons.models.download import on_hub
from culture_neurons.models.independent_rows import separate_rows
from culture_neurons.models.mlp_refusals import UNFIT
from culture_neurons.models.onednn import use_onednn
from culture_neurons.models.torchvision_build import INSTALL, check_torchvision

#: Settings of a model in the config that loading reads; `name` labels the outputs.
SETTINGS = {
    "name", "path", "revision", "dtype", "device_map", "attn_implementation",
    "trust_remote_code", "from_pretrained", "processor", "chat_template",
    "chat_template_kwargs",
}  # fmt: skip
#: Arguments of `from_pretrained` that have a key of their own, or that would let a pickle be read.
_OWN_KEYS = {"revision", "dtype", "torch_dtype", "device_map", "attn_implementation", "trust_remote_code"}
_SECRET = {"token", "use_auth_token"}
_REFUSED = {"use_safetensors", "weights_only", "pickle_module", "output_loading_info", "config", "state_dict"}
#: What to do about a model that comes with Python code.
OWN_CODE = "; it runs only with trust_remote_code: true in the model's stanza"
#: A template that writes what it is given, and nothing else.
_BARE = (
    "{% for m in messages %}{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for part in m['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{{ '\n' }}{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{% endfor %}"
)
#: What `from_pretrained` raises for files that do not fit.
_NOT_LOADED = (
    OSError, ValueError, TypeError, AssertionError, ImportError, RuntimeError, SafetensorError, AttributeError,
    LookupError,
)  # fmt: skip
_DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Loaded:
    """A model ready to be asked.

    processor    turns chat text and images into tensors; a plain tokenizer for a language model
    revision     the hub's commit, or a digest of the files of a local folder
    dtype        of the weights, for example "bfloat16"
    template     variables of the chat template (`chat_template_kwargs`), the same for every prompt
    gguf         which GGUF file the folder was converted from, and its licence; empty for other models
    """

    name: str
    model: nn.Module
    processor: Any
    adapter: Adapter
    revision: str
    dtype: str
    template: Mapping[str, Any] = field(default_factory=dict)
    gguf: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return getattr(self.processor, "tokenizer", self.processor)

    @property
    def image_token_id(self) -> int | None:
        """The id of the placeholder that stands for image features, None for a language model."""
        owners = [(self.model.config, "image_token_id"), (self.model.config, "image_token_index")]
        if self.processor is not self.tokenizer:  # MiniCPM-V's configuration leaves it to the processor
            owners.append((self.processor, "image_token_id"))
        return next((value for owner, name in owners if (value := getattr(owner, name, None)) is not None), None)

    def render(self, text: str, with_image: bool) -> str:
        """The prompt of one user turn, as the model's chat template writes it; see `templates.render`.

        Raises ModelError where there is no template, or one that fails.
        """
        turn = chat(text, with_image, self.image_token_id is not None)
        try:
            return templates.render(self.processor, turn, self.template)
        except (ValueError, TemplateError) as error:
            raise ModelError(
                f"model {self.name!r}: no chat template, or one that fails ({first_line(error)}); "
                "set chat_template in its stanza of the config"
            ) from None

    @property
    def identity(self) -> dict[str, str]:
        """What every file made with this model says of it."""
        return {"model": self.name, "revision": self.revision, "dtype": self.dtype}


def load(settings: Mapping[str, Any], threads: int | None = None) -> Loaded:
    """Load the model that `settings` describes (the stanza of the config, with `name`).

    path                 a folder made by `save_pretrained`, or a hub name "owner/model"
    revision             branch, tag or commit on the hub
    dtype                auto (as saved), float32, bfloat16 or float16
    device_map           for accelerate: "auto", "cpu", "cuda:0", a dict; default: "auto" with a GPU
    attn_implementation  eager, sdpa, flash_attention_2 ...
    from_pretrained      anything else that `from_pretrained` takes, quantisation among it
    processor            options of the processor, such as max_pixels of Qwen2.5-VL; what it ignores is refused
    chat_template        Jinja text or file, for a model that has none; `none`: prompts are the bare text
    chat_template_kwargs variables of the chat template, such as enable_thinking and date_string

    `threads` bounds the CPU threads of this process, None leaves them.

    Raises ConfigError or ModelError.
    """
    for key in settings:
        if key not in SETTINGS:
            raise ConfigError(f"model {settings.get('name')!r}: unknown setting {key!r}{nearest(key, SETTINGS)}")
    name, path = str(settings["name"]), str(settings["path"])
    dtype = settings.get("dtype") or "auto"
    if dtype not in _DTYPES:
        raise ConfigError(f"model {name!r}: dtype {dtype!r}{nearest(dtype, _DTYPES)}; expected {', '.join(_DTYPES)}")
    if threads:
        torch.set_num_threads(threads)
    keep_freed_memory()
    hf_logging.disable_progress_bar()
    folder = _local_folder(name, path)
    where = {
        # One commit for the config, the weights and the tokenizer, also when the branch moves meanwhile.
        "revision": None if folder else hub.commit(path, "model", settings.get("revision")),
        "trust_remote_code": bool(settings.get("trust_remote_code", False)),
    }
    more: dict[str, Any] = {"dtype": dtype, "use_safetensors": True}
    if settings.get("device_map") or torch.cuda.is_available():
        more["device_map"] = settings.get("device_map") or "auto"
    if settings.get("attn_implementation"):
        more["attn_implementation"] = settings["attn_implementation"]
    more |= _further(name, settings.get("from_pretrained") or {})
    check_torchvision()
    # Processors can be imported only now: not beside a torchvision that does not fit.
    from culture_neurons.models.processors import check_options, load_processor

    further = dict(settings.get("processor") or {})
    part = "model"
    try:
        config = AutoConfig.from_pretrained(path, **where)
        auto = _auto_class(config, name, where["trust_remote_code"])
        model, info = auto.from_pretrained(path, config=config, output_loading_info=True, **where, **more)
        part = "processor"
        if _sees(config, auto):
            processor = load_processor(path, **where, **further)
        else:
            processor = AutoTokenizer.from_pretrained(path, **where)
    except _NOT_LOADED as error:
        if "trust_remote_code" in str(error) and not where["trust_remote_code"]:
            raise ModelError(f"model {name!r}: {path!r} has code of its own{OWN_CODE}") from None
        raise ModelError(f"model {name!r}: {_not_loaded(path, part, error, bool(folder))}") from None
    check_options(name, processor, further)
    missing = sorted(info.get("missing_keys", ()))
    if missing:
        raise ModelError(f"model {name!r}: {path!r} lacks {len(missing)} weights, {missing[0]!r} the first")
    if settings.get("chat_template"):
        image = getattr(processor, "image_token", "")
        processor.chat_template = _chat_template(name, str(settings["chat_template"]), image)
    _fit_vocabulary(model, getattr(processor, "tokenizer", processor))
    model.eval().requires_grad_(False)
    separate_rows(model)
    use_onednn(model)
    loaded_dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    revision = model_digest(folder) if folder else str(getattr(model.config, "_commit_hash", None) or "unknown")
    given = dict(settings.get("chat_template_kwargs") or {})
    noted = read_json(folder / "gguf.json") if folder and (folder / "gguf.json").is_file() else {}
    loaded = Loaded(name, model, processor, adapt(model), revision, loaded_dtype, given, noted)
    sees = loaded.image_token_id is not None
    chats = [chat("?", with_image, sees) for with_image in {False, sees}]
    templates.check(name, processor, loaded.tokenizer, given, chats)
    loaded.tokenizer.padding_side = "left"
    if loaded.tokenizer.pad_token is None:
        loaded.tokenizer.pad_token = loaded.tokenizer.eos_token
    return loaded


def chat(text: str, with_image: bool, sees: bool) -> list[dict[str, Any]]:
    """One turn of the user as the templates of the model's kind expect it: of language models, as plain text."""
    return prompts.messages(text, with_image) if sees else [{"role": "user", "content": text}]


def _further(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The user's own arguments of `from_pretrained`, checked."""
    for key in arguments:
        if key in _SECRET:
            raise ConfigError(
                f"model {name!r}: from_pretrained: {key!r} would be written into every result; use HF_TOKEN instead"
            )
        if key == "experts_implementation" and arguments[key] != "eager":
            raise ConfigError(
                f"model {name!r}: from_pretrained: {key} {arguments[key]!r}; leave it out: experts run one after the "
                "other, so that their neurons can be seen"
            )
        if key == "gguf_file":
            raise ConfigError(f"model {name!r}: from_pretrained: {key!r} is no setting; use gguf: {{path: ...}}")
        if key in _OWN_KEYS:
            raise ConfigError(f"model {name!r}: from_pretrained: {key!r} belongs beside from_pretrained, not in it")
        if key in _REFUSED:
            raise ConfigError(f"model {name!r}: from_pretrained: {key!r} can't be set; only safetensors are read")
    return dict(arguments)


@torch.no_grad()
def _fit_vocabulary(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> None:
    """Give every token of the tokenizer a row in the embeddings: some checkpoints (Pangea) have none for the image.

    The new rows are zero: as input, image features take their place, and as output they never win.
    """
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        for table in (model.get_input_embeddings(), model.get_output_embeddings()):
            if table is not None:
                table.weight[rows:] = 0


def _local_folder(name: str, path: str) -> Path | None:
    """The folder that `path` names, None if it can only be a hub name."""
    folder = Path(path)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelError(f"model {name!r}: {path!r} is no model folder: it has no config.json")
        return folder
    if not on_hub(path):
        raise ModelError(f"model {name!r}: {path!r} is no folder; expected a model folder or a hub name owner/model")
    return None


def _auto_class(config: Any, name: str, trust_remote_code: bool) -> Any:
    if reason := UNFIT.get(getattr(config, "model_type", "")):
        raise ModelError(f"model {name!r}: models of type {config.model_type!r} can't be analysed: {reason}")
    if type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        return AutoModelForImageTextToText
    if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
        return AutoModelForCausalLM
    auto_map = getattr(config, "auto_map", None) or {}
    for auto in (AutoModelForImageTextToText, AutoModelForCausalLM):
        if trust_remote_code and auto.__name__ in auto_map:
            return auto
    hint = OWN_CODE if auto_map and not trust_remote_code else ""
    raise ModelError(
        f"model {name!r}: type {getattr(config, 'model_type', '?')!r} is neither a vision-language nor a causal "
        f"language model of this version of transformers{hint}"
    )


def _sees(config: Any, auto: Any) -> bool:
    """Whether a model reads images: Phi-4-multimodal is listed among language models alone, and among those of any
    kind of input."""
    any_input = type(config) in MODEL_FOR_MULTIMODAL_LM_MAPPING and hasattr(config, "vision_config")
    return auto is AutoModelForImageTextToText or any_input


def _not_loaded(path: str, part: str, error: Exception, is_folder: bool) -> str:
    """Why transformers could not make the model or its processor, and what it needs."""
    reason = first_line(error)
    if isinstance(error, ImportError) and "torchvision" in f"{error} {error.__cause__}".lower():
        return f"the {part} of {path!r} needs torchvision; {INSTALL}"
    if isinstance(error, ImportError):
        return f"the {part} of {path!r} needs another package ({reason})"
    if isinstance(error, AttributeError | LookupError):
        # A tokenizer that does not name the tokens of images, a config.json without one of the model's settings.
        files = "config.json" if part == "model" else "tokenizer_config.json and processor_config.json"
        return (
            f"the {part} of {path!r} can't be made ({type(error).__name__}: {reason})\n"
            f"expected {files} with all that its class asks for, as save_pretrained of this version of transformers "
            "writes them"
        )
    expected = "expected a folder with config.json, safetensors and processor files" if is_folder else hub.WITHOUT
    return f"can't load {path!r} ({reason})\n{expected}"


def _chat_template(name: str, text: str, image: str) -> str:
    """Jinja text as it is; text without a brace is the name of a file that holds it, and `none` the bare text, behind
    `image` where there is one."""
    if text == "none":
        return _BARE.replace("IMAGE", image)
    if "{" in text:
        return text
    try:
        return Path(text).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ConfigError(
            f"model {name!r}: chat_template: {text!r} is neither a template nor a readable file"
        ) from None
