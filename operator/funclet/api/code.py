"""Where a function's code and layers come from."""

from typing import ClassVar, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from funclet.api.meta import ApiModel, rule, rules


class KeyReference(ApiModel):
    """A key of a ConfigMap or Secret in the Function's namespace."""

    name: str = Field(min_length=1, max_length=253, description="Name of the object.")
    key: str = Field(min_length=1, max_length=253, description="The key inside it.")


URL_AND_DIGEST = "url and sha256 belong together, give both"


def _list(sources: tuple[str, ...]) -> str:
    """`files, configMap or url`."""
    names = [to_camel(source) for source in sources]
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _one_source(noun: str, *sources: str) -> ConfigDict:
    """The rules on a cluster, where a folder of somebody's machine cannot be read."""
    given = ", ".join(f"has(self.{to_camel(source)})" for source in sources)
    return rules(
        rule(f"[{given}].exists_one(s, s) || has(self.directory)", f"{noun} must have exactly one of {_list(sources)}"),
        rule(
            "!has(self.directory)",
            f"{noun}: a directory is read by `funclet local` alone; on a cluster use files, configMap or url",
        ),
        rule("has(self.url) == has(self.sha256)", f"{noun}: {URL_AND_DIGEST}"),
    )


class Archive(ApiModel):
    """Files from exactly one source. What each kind of archive has beside these is its own."""

    noun: ClassVar[str]
    sources: ClassVar[tuple[str, ...]]

    files: dict[str, str] | None = Field(
        default=None,
        min_length=1,
        max_length=256,
        description="A map of file names (with folders, relative) to their text.",
    )
    directory: str | None = Field(
        default=None,
        max_length=1024,
        description="A folder beside the YAML file, read by `funclet local` only. Changes are live at the next call.",
    )
    config_map: KeyReference | None = Field(
        default=None, description="A zip archive in binaryData of a ConfigMap in the same namespace."
    )
    url: str | None = Field(
        default=None,
        max_length=2048,
        pattern=r"^https?://",
        description="A zip archive at an http or https address; sha256 must be given with it.",
    )
    sha256: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", description="The archive's SHA-256, in lower-case hexadecimal digits."
    )

    @model_validator(mode="after")
    def _exactly_one_source(self) -> Self:
        given = [name for name in self.sources if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"{self.noun} must have exactly one of {_list(self.sources)}, not {given}")
        if (self.url is None) != (self.sha256 is None):
            raise ValueError(f"{self.noun}: {URL_AND_DIGEST}")
        return self


class Code(Archive):
    """Where the function's code comes from: exactly one of its sources."""

    model_config = _one_source("code", "inline", "files", "config_map", "url", "image_uri", "package_sha256")
    noun = "code"
    sources = ("inline", "files", "directory", "config_map", "url", "image_uri", "package_sha256")

    inline: str | None = Field(
        default=None,
        max_length=262144,
        description="The handler's module as text. Its file name is the module of spec.handler, so "
        "handler index.lambda_handler makes it index.py, or index.js (index.mjs if it imports or exports) with a "
        "Node.js runtime. With provided.al2023 it is the script bootstrap. Java must be compiled: not inline.",
    )
    image_uri: str | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        pattern=r"^\S+$",
        description="A container image with a Lambda runtime client, with packageType Image: "
        "registry/repository:tag, or registry/repository@sha256:digest for always the same one.",
    )
    package_sha256: str | None = Field(
        default=None,
        max_length=64,
        pattern=r"^[0-9a-f]{64}$",
        description="A zip archive in Funclet's package store, by its SHA-256 in lower-case hexadecimal digits; "
        "it is where the Lambda API (CreateFunction, UpdateFunctionCode) puts what it is given.",
    )


class ImageConfig(ApiModel):
    """What replaces the image's own settings."""

    entry_point: list[str] | None = Field(
        default=None,
        max_length=1500,
        description="In the place of the image's ENTRYPOINT. The image's CMD is left out then: say command, too.",
    )
    command: list[str] | None = Field(default=None, max_length=1500, description="In the place of the image's CMD.")
    working_directory: str | None = Field(
        default=None, max_length=1000, description="In the place of the image's WORKDIR."
    )


class Layer(Archive):
    """A layer: exactly one source of an archive whose content is laid over /opt."""

    model_config = _one_source("a layer", "files", "config_map", "url")
    noun = "a layer"
    sources = ("files", "directory", "config_map", "url")

    files: dict[str, str] | None = Field(
        default=None,
        min_length=1,
        max_length=256,
        description="A map of file names below /opt (python/words.py, bin/tool) to their text.",
    )
    directory: str | None = Field(
        default=None, max_length=1024, description="A folder beside the YAML file, read by `funclet local` only."
    )
