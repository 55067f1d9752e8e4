import pytest

from scanner.importers.edits import Wants
from scanner.importers.registry_model import RegistryExport, RegistryValue
from scanner.importers.source import ReadOptions
from scanner.importers.windows import judge_export
from scanner.importers.windows_edits import plan_edits_for_export, render_powershell, render_reg, wanted_values
from scanner.model.checks import CheckState
from scanner.model.declared import Place
from scanner.model.evidence import State


def applied(text):
    values, key = [], ""
    for line in text.split("\r\n"):
        if line.startswith("["):
            key = line[1:-1].upper()
        elif line.startswith('"'):
            name, data = line.split("=dword:")
            place = Place(file="a.reg")
            number = int(data, 16)
            values.append(RegistryValue(path=key, name=name.strip('"'), type="REG_DWORD", number=number, place=place))
    return RegistryExport(keys=(), values=tuple(values), roots=("HKEY_LOCAL_MACHINE",))


@pytest.mark.parametrize("is_old_off", [False, True])
def test_after_the_reg_file_tls_1_2_is_on_and_the_article_followed(is_old_off):
    export = applied(render_reg(wanted_values(Wants(disable_old=is_old_off))))
    reading = judge_export(
        export, file="a.reg", sha256="00", importer="reg", options=ReadOptions(product_version="2019")
    )
    for leg in reading.legs[:2]:
        states = [each.state for each in leg.settings]
        assert states[4] is State.ENABLED
        assert (states[:4] == [State.DISABLED] * 4) is is_old_off
    article = [
        each.state
        for each in reading.checks
        if each.id in {"article-schannel-client", "article-schannel-server", "article-dotnet"}
    ]
    assert article == [CheckState.YES] * 3
    assert plan_edits_for_export(export, wants=Wants(disable_old=is_old_off)) == ()


def test_the_commands_name_the_path_with_the_backslash_that_the_article_lost():
    (remedy,) = plan_edits_for_export(RegistryExport(keys=(), values=(), roots=("HKEY_LOCAL_MACHINE",)), wants=Wants())
    wanted = r'reg add "HKLM\SOFTWARE\Microsoft\.NETFramework\v4.0.30319" /v SchUseStrongCrypto /t REG_DWORD /d 1 /f'
    assert wanted in remedy.commands


def test_the_script_saves_the_keys_before_it_sets_them():
    text = render_powershell(wanted_values(Wants()))
    assert 0 < text.index("reg.exe export") < text.index("New-ItemProperty")
    assert "SupportsShouldProcess" in text
