"""Options that several commands have are the same everywhere."""

import click
import typer

from scanner.cli import app

COMMANDS = typer.main.get_command(app).commands
SHARED = {
    "html": {"scan", "demo", "report", "listen"},
    "json": {"scan", "demo", "report", "listen"},
    "csv": {"scan", "demo", "report", "listen"},
    "policy": {"scan", "report", "listen"},
    "allow_unknown": {"scan", "report", "listen"},
    "secret_file": {"scan", "listen", "trigger"},
}


def options(name):
    return {command: item for command in COMMANDS for item in COMMANDS[command].params if item.name == name}


def test_each_is_there_and_says_the_same():
    for name, commands in SHARED.items():
        found = options(name)
        assert commands <= set(found)
        # trigger's --json is another: a form, and no file. The demo's --html has a default of its own.
        helps = {(found[command].help, tuple(found[command].opts)) for command in commands}
        assert len(helps) == 1, name


def test_the_database_comes_from_the_environment_where_none_is_named():
    for command, option in options("db").items():
        assert option.envvar == "ENTRA_TLS_DB", command


def test_all_have_help():
    assert all(item.help for name in SHARED for item in options(name).values())
    assert isinstance(COMMANDS["scan"], click.Command) or COMMANDS["scan"].params
