"""Where a function's code and layers come from."""

from typing import Self

from pydantic import Field, model_validator

from funclet.api.meta import ApiModel, rule, rules


class KeyReference(ApiModel):
    """A key of a ConfigMap or Secret in the Function's namespace."""

    name: str = Field(min_length=1, max_length=253, description="Name of the object.")
    key: str = Field(min_length=1, max_length=253, description="The key inside it.")


CODE_SOURCES = ("inline", "files", "directory", "config_map", "url")


class Code(ApiModel):
    """Where the function's code comes from: exactly one of its sources."""

    model_config = rules(
        rule(
            "[has(self.inline), has(self.files), has(self.configMap), has(self.url)].exists_one(s, s)"
            " || has(self.directory)",
            "code must have exactly one of inline, files, configMap or url",
        ),
        rule(
            "!has(self.directory)",
            "code.directory is read by `funclet local` alone; on a cluster use files, configMap or url",
        ),
        rule("has(self.url) == has(self.sha256)", "code.url and code.sha256 belong together: give both"),
    )

    inline: str | None = Field(
        default=None,
        max_length=262144,
        description="The handler's module as text. Its file name is the module of spec.handler, so "
        "handler index.lambda_handler makes it index.py, or index.js (index.mjs if it imports or exports) with a "
        "Node.js runtime. With provided.al2023 it is the script bootstrap. Java must be compiled: not inline.",
    )
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
        given = [name for name in CODE_SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"code must have exactly one of inline, files, directory, configMap or url, not {given}")
        if (self.url is None) != (self.sha256 is None):
            raise ValueError("code.url and code.sha256 belong together: give both")
        return self


LAYER_SOURCES = ("files", "directory", "config_map", "url")


class Layer(ApiModel):
    """A layer: exactly one source of an archive whose content is laid over /opt."""

    model_config = rules(
        rule(
            "[has(self.files), has(self.configMap), has(self.url)].exists_one(s, s) || has(self.directory)",
            "a layer must have exactly one of files, configMap or url",
        ),
        rule(
            "!has(self.directory)",
            "a layer's directory is read by `funclet local` alone; on a cluster use files, configMap or url",
        ),
        rule("has(self.url) == has(self.sha256)", "a layer's url and sha256 belong together: give both"),
    )

    files: dict[str, str] | None = Field(
        default=None,
        min_length=1,
        max_length=256,
        description="A map of file names below /opt (python/words.py, bin/tool) to their text.",
    )
    directory: str | None = Field(
        default=None, max_length=1024, description="A folder beside the YAML file, read by `funclet local` only."
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
        given = [name for name in LAYER_SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"a layer must have exactly one of files, directory, configMap or url, not {given}")
        if (self.url is None) != (self.sha256 is None):
            raise ValueError("a layer's url and sha256 belong together: give both")
        return self
