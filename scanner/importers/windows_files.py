"""The formats in which a Windows host's registry comes, as importers. Pure."""

from __future__ import annotations

from collections.abc import Callable

from scanner.importers import hive, netsh_sslcert, reg_file, reg_query, registry_json
from scanner.importers.edits import Remedy, Wants
from scanner.importers.registry_model import RegistryExport
from scanner.importers.source import Folder, ReadOptions, SourceFile
from scanner.importers.windows import judge_export
from scanner.importers.windows_edits import plan_edits_for_export
from scanner.model.declared import Reading


class RegistryFormat:
    """One format: reads an export, and judges it as every other format's."""

    def __init__(self, importer: str, read_export: Callable[[SourceFile], RegistryExport]) -> None:
        """Take the importer's id, and what reads the format: it raises ReadError only."""
        self._importer = importer
        self._read_export = read_export

    def read(
        self,
        source: SourceFile,
        folder: Folder,  # noqa: ARG002  # as every importer
        options: ReadOptions,
    ) -> Reading:
        """Return what the export says. Raises ReadError."""
        export = self._read_export(source)
        return judge_export(export, file=source.name, sha256=source.sha256, importer=self._importer, options=options)

    def plan_edits(
        self,
        source: SourceFile,
        folder: Folder,  # noqa: ARG002  # as every importer
        options: ReadOptions,  # noqa: ARG002  # the values to set are the same for every version
        *,
        wants: Wants,
    ) -> tuple[Remedy, ...]:
        """Return what sets the values that the export lacks. Raises ReadError."""
        return plan_edits_for_export(self._read_export(source), wants=wants)


REG = RegistryFormat("reg", reg_file.read_export)
REG_QUERY = RegistryFormat("reg-query", reg_query.read_export)
WINDOWS_JSON = RegistryFormat("windows-json", registry_json.read_export)
NETSH = RegistryFormat("netsh-sslcert", netsh_sslcert.read_export)
HIVE = RegistryFormat("hive", hive.read_export)
