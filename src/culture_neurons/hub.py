"""The Hugging Face hub, for models and data sets alike: which commit a name stands for, and fetching its files.

Everything is asked for at one commit, so that a branch which moves while a run goes on can't mix two versions.
`HF_HUB_OFFLINE=1` means that nothing is asked at all: then the hub's own cache on this machine has to hold the files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from culture_neurons.errors import CultureNeuronsError, DataError, ModelError
from culture_neurons.files import first_line

#: Seconds to wait for an answer: behind many a firewall there never comes one.
PATIENCE = 10.0
WITHOUT = "fetch it where there is network (make prefetch CONFIG=...), or give the path of a folder"


def offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids to ask the hub."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def commit(name: str, kind: str, revision: str | None = None) -> str:
    """The commit that `revision` (a branch, tag or commit; None: the main branch) of a repository stands for.

    kind   "model" or "dataset"

    The hub is asked once, without trying again and again; offline, its cache is. Raises ModelError or DataError (of
    two lines, by `kind`) when there is no such repository or revision, it may not be read, or nobody can be asked.
    """
    import huggingface_hub

    with _asking(name, kind, revision):
        if offline():
            return cached(name, kind, revision).name
        info = huggingface_hub.HfApi().repo_info(name, repo_type=kind, revision=revision, timeout=PATIENCE)
        return str(info.sha)


def cached(name: str, kind: str, revision: str | None, patterns: Sequence[str] = ()) -> Path:
    """The folder of the hub's cache that holds a revision. Raises as `commit` does when there is none, and when a
    file of the repository that matches one of `patterns` is missing there, as far as the cache knows of it."""
    import huggingface_hub

    with _asking(name, kind, revision):
        folder = huggingface_hub.snapshot_download(
            name, repo_type=kind, revision=revision, allow_patterns=list(patterns), local_files_only=True
        )
        return Path(folder)


def fetch(name: str, kind: str, revision: str | None, patterns: Sequence[str]) -> Path:
    """Download the files that match into the hub's cache, unless they are there; the folder of their commit.

    The cache keeps which commit `revision` stood for, so that it is found offline. Raises as `commit` does.
    """
    import huggingface_hub

    with _asking(name, kind, revision):
        if offline():
            raise huggingface_hub.errors.OfflineModeIsEnabled("nothing can be fetched")
        huggingface_hub.HfApi().repo_info(name, repo_type=kind, revision=revision, timeout=PATIENCE)
        return Path(huggingface_hub.snapshot_download(name, repo_type=kind, revision=revision, allow_patterns=patterns))


def download(name: str, kind: str, commit: str, file: str) -> Path:
    """The path of one file, downloaded into the hub's cache unless it is there. Raises as `commit` does."""
    import huggingface_hub

    with _asking(name, kind, commit):
        cached_file = huggingface_hub.try_to_load_from_cache(name, file, repo_type=kind, revision=commit)
        if isinstance(cached_file, str):
            return Path(cached_file)
        # The download itself would try for half a minute when nobody answers.
        huggingface_hub.HfApi().repo_info(name, repo_type=kind, revision=commit, timeout=PATIENCE)
        return Path(huggingface_hub.hf_hub_download(name, file, repo_type=kind, revision=commit))


@contextmanager
def _asking(name: str, kind: str, revision: str | None) -> Iterator[None]:
    """What the hub's client raises becomes an error of two lines."""
    from huggingface_hub import constants, errors

    fail = {"model": ModelError, "dataset": DataError}[kind]
    subject = f"{name}{f' at revision {revision}' if revision else ''}"
    try:
        yield
    except CultureNeuronsError:
        raise
    except errors.GatedRepoError:
        raise fail(
            f"{subject}: the hub gives this {kind} only to those who accepted its terms\n"
            f"accept them at {constants.ENDPOINT}/{'datasets/' * (kind == 'dataset')}{name} and set HF_TOKEN"
        ) from None
    except errors.RevisionNotFoundError:
        raise fail(f"{subject}: the {kind} is on the hub, but this revision is not") from None
    except errors.RemoteEntryNotFoundError as error:
        raise fail(f"{subject}: the hub has no such file ({first_line(error)})") from None
    except errors.RepositoryNotFoundError:
        raise fail(
            f"{subject}: no such {kind} on the hub, nor a file or folder of this name here\n"
            "check the spelling; for a private one set HF_TOKEN"
        ) from None
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
        if not offline():
            raise fail(f"{subject}: {_unreachable(error)}\n{WITHOUT}") from None
        raise fail(
            f"{subject}: not, or not all of it, in the hub's cache ({constants.HF_HUB_CACHE}), "
            f"and HF_HUB_OFFLINE is set\n{WITHOUT}; HF_HUB_OFFLINE=0 lets it be asked for"
        ) from None
    except errors.HFValidationError as error:
        raise fail(f"{subject}: no name of a {kind} on the hub ({first_line(error)})") from None
    except Exception as error:  # of the system, of HTTP libraries and of the hub's client
        raise fail(f"{subject}: {_unreachable(error)}\n{WITHOUT}; HF_HUB_OFFLINE=1 takes what is cached") from None


def _unreachable(error: BaseException) -> str:
    from huggingface_hub import constants

    return f"the hub at {constants.ENDPOINT} can't be reached ({first_line(error)})"
