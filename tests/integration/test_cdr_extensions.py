"""`cdr extensions`: good lines of a file become names that CDRs are given, bad ones are named."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Product, delivery, product

__all__ = ["product"]

HEADER = "account,extension_code,extension_name,valid_from\n"


def imported(product: Product, tmp_path: Path, content: str | bytes, *options: str) -> tuple[int, str, str]:
    file = tmp_path / "names.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = product.cdr("extensions", "import", str(file), *options)
    return done.exit_code, done.out, done.err.replace(str(file), "FILE")


def names(product: Product) -> list[tuple[str, str, str, str | None]]:
    return [
        (each["account"], each["extension_code"], each["extension_name"], each["valid_from"])
        for each in product.cdr("extensions", "list", "--json").json
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1255"])
def test_names_are_imported_in_any_usual_encoding(product: Product, tmp_path: Path, encoding: str) -> None:
    content = "extension_code,extension_name\r\nAAPINFzL,קבלה\r\n".encode(encoding)
    assert imported(product, tmp_path, content) == (0, "1 extension imported, 0 lines left out\n", "")
    assert names(product) == [("default", "AAPINFzL", "קבלה", None)]
    assert "קבלה" in product.cdr("extensions", "list").out


def test_an_import_twice_is_the_same_and_a_new_name_takes_the_place_of_the_old(
    product: Product, tmp_path: Path
) -> None:
    content = f"{HEADER},a1,One,\nother,a1,Another,\n,a1,Later,2026-02-01\n"
    imported(product, tmp_path, content)
    first = product.query("SELECT extensions::text FROM cdr.extensions ORDER BY 1")
    imported(product, tmp_path, content)
    assert product.query("SELECT extensions::text FROM cdr.extensions ORDER BY 1") == first
    imported(product, tmp_path, f"{HEADER},a1,Uno,\n")
    assert names(product) == [
        ("default", "a1", "Uno", None),
        ("default", "a1", "Later", "2026-02-01"),
        ("other", "a1", "Another", None),
    ]


def test_a_day_begins_at_midnight_in_the_zone_of_the_account(product: Product, tmp_path: Path) -> None:
    product.cdr("accounts", "set", "london", "--time-zone", "Europe/London")
    imported(product, tmp_path, f"{HEADER},a1,One,2026-07-01\nlondon,a1,One,2026-07-01\n")
    assert product.query("SELECT account, valid_from::text FROM cdr.extensions ORDER BY 1") == [
        ("default", "2026-06-30 21:00:00+00"),
        ("london", "2026-06-30 23:00:00+00"),
    ]
    assert {valid_from for *_, valid_from in names(product)} == {"2026-07-01"}


def test_bad_lines_are_named_and_the_good_ones_imported(product: Product, tmp_path: Path) -> None:
    content = (
        f"{HEADER}"
        ",a1,One,\n"
        "\n"
        ",,Nameless,\n"
        ',a2,"Two\nlines",\n'
        ",a3,Three,01/02/2026\n"
        ",a4\n"
        "bad account,a5,Five,\n"
        ",a1,Uno,\n"
        f",{'x' * 201},Long,\n"
        ',a6,"Six"6,\n'
        ",a7,Seven,\n"
    )
    exit_code, out, err = imported(product, tmp_path, content)
    assert (exit_code, out) == (1, "2 extensions imported, 8 lines left out\n")
    assert [name for _, _, name, _ in names(product)] == ["One", "Seven"]
    assert err.splitlines() == [
        "FILE:4: extension_code is empty",
        "FILE:5: extension_name holds a control character: 'Two\\nlines'",
        "FILE:7: valid_from '01/02/2026' is no day such as 2026-01-31",
        "FILE:8: 2 fields where the first line has 4",
        "FILE:9: 'bad account' is no name of an account",
        "FILE:10: a1 has another name in this file already: 'One'",
        "FILE:11: extension_code has more than 200 characters",
        "FILE:12: ',' expected after '\"'",
    ]


@pytest.mark.parametrize("content", [b"", b"a1,One\n", b"extension_code\na1\n", b"\xff\xfb\xff\n"])
def test_a_file_without_its_columns_is_refused_as_a_whole(product: Product, tmp_path: Path, content: bytes) -> None:
    exit_code, out, err = imported(product, tmp_path, content)
    assert (exit_code, out) == (1, "")
    assert err.startswith("cdr: FILE: ")
    assert err.count("\n") == 1


def test_a_file_that_is_not_there_is_told_in_one_line(product: Product) -> None:
    done = product.cdr("extensions", "import", "/nowhere/names.csv")
    assert done == (1, "", "cdr: /nowhere/names.csv: No such file or directory\n")


def test_a_file_without_its_columns_is_told_which_it_must_and_which_it_may_have(
    product: Product, tmp_path: Path
) -> None:
    told = "the first line must name the columns extension_code and extension_name, and may name account and valid_from"
    err = imported(product, tmp_path, "account,extension_code\n")[2]
    assert err == f"cdr: FILE: {told}; it lacks extension_name\n"


def test_an_account_may_be_given_for_the_whole_file(product: Product, tmp_path: Path) -> None:
    content = "Extension_Name,note,EXTENSION_CODE\nOne,whatever,a1\n"
    done = imported(product, tmp_path, content, "--account", "other")
    assert done == (0, "1 extension imported, 0 lines left out\n", "FILE: not used: 1 column named note\n")
    assert names(product) == [("other", "a1", "One", None)]
    assert imported(product, tmp_path, content, "--account", "no account")[0] == 2


def test_what_is_exported_imports_as_the_same(product: Product, tmp_path: Path) -> None:
    imported(product, tmp_path, f'{HEADER},a1,"One, first",2026-02-01\nother,a2,שתיים,\n')
    product.run("INSERT INTO cdr.extensions VALUES ('default', 'a9', 'Nine', 'learned')")
    exported = product.cdr("extensions", "export").out
    assert exported == f'{HEADER}default,a1,"One, first",2026-02-01\nother,a2,שתיים,\n'
    before = names(product)
    assert imported(product, tmp_path, exported)[0] == 0
    assert names(product) == before
    assert product.cdr("extensions", "export", "--account", "other").out == f"{HEADER}other,a2,שתיים,\n"


def test_a_cdr_with_the_code_alone_is_given_the_name(product: Product, tmp_path: Path) -> None:
    imported(product, tmp_path, f"{HEADER},AAPINFzL,קבלה,\n")
    product.enqueue([delivery(1, targetextension="AAPINFzL")])
    product.work()
    assert product.query("SELECT answering_extension_name FROM cdr.cdrs") == [("קבלה",)]


def test_a_file_as_a_spreadsheet_writes_it_where_a_comma_separates_decimals(product: Product, tmp_path: Path) -> None:
    content = "account;extension_code;extension_name;valid_from\r\n;a1;One, first;2026-02-01\r\n".encode("utf-8-sig")
    assert imported(product, tmp_path, content)[0] == 0
    assert names(product) == [("default", "a1", "One, first", "2026-02-01")]


def test_a_dry_run_names_the_bad_lines_and_imports_nothing(product: Product, tmp_path: Path) -> None:
    content = f"{HEADER},a1,One,\n,a2,,\n"
    told = (1, "1 extension would be imported, 1 line left out\n", "FILE:3: extension_name is empty\n")
    assert imported(product, tmp_path, content, "--dry-run") == told
    assert product.count("cdr.extensions") == product.count("cdr.audit") == 0


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_misspelled_column_is_told_and_nothing_imported(
    product: Product, tmp_path: Path, options: tuple[str, ...]
) -> None:
    exit_code, out, err = imported(product, tmp_path, "extension_code,extension_name,acount\na1,One,other\n", *options)
    told = "is the column 'acount' the account? Name it so, or if it is your own, less alike"
    assert (exit_code, out, err) == (1, "", f"cdr: FILE: {told}\n")
    assert product.count("cdr.extensions") == product.count("cdr.audit") == 0


def test_a_dry_run_tells_of_columns_that_are_not_used(product: Product, tmp_path: Path) -> None:
    content = "extension_code,extension_name,note,phone\na1,One,whatever,05\n"
    assert imported(product, tmp_path, content, "--dry-run")[2] == "FILE: not used: 2 columns named note, phone\n"


def test_a_folder_is_no_file(product: Product, tmp_path: Path) -> None:
    done = product.cdr("extensions", "import", str(tmp_path))
    assert (done.exit_code, done.out, done.err.count("\n")) == (1, "", 1)


def test_who_imported_what_is_noted(product: Product, tmp_path: Path) -> None:
    imported(product, tmp_path, f"{HEADER},a1,One,\n,a2,Two,\n")
    [(command, file, affected, finished)] = product.query(
        "SELECT command, selection ->> 'file', affected, finished_at IS NOT NULL FROM cdr.audit"
    )
    assert (command, file, affected, finished) == ("extensions import", str(tmp_path / "names.csv"), 2, True)


def test_what_an_import_changes_is_seen_by_workers_that_look_for_changes(product: Product, tmp_path: Path) -> None:
    changed = "SELECT extension_code FROM cdr.extensions WHERE updated_at > now() - interval '10 s' ORDER BY 1"
    imported(product, tmp_path, f"{HEADER},a1,One,\n,a2,Two,\n")
    product.run("UPDATE cdr.extensions SET updated_at = now() - interval '1 hour'")
    imported(product, tmp_path, f"{HEADER},a1,Uno,\n,a2,Two,\n")
    assert product.query(changed) == [("a1",)]


def test_the_list_shows_since_when_a_name_holds_and_where_it_is_from(product: Product, tmp_path: Path) -> None:
    imported(product, tmp_path, f"{HEADER},a1,One,2026-02-01\n")
    product.run("INSERT INTO cdr.extensions VALUES ('default', 'a1', 'Uno', 'learned', '2026-07-01 10:00:05Z')")
    listed = product.cdr("extensions", "list", "--json").json
    assert [(each["source"], each["valid_from"]) for each in listed] == [
        ("import", "2026-02-01"),
        ("learned", "2026-07-01T10:00:05+00:00"),
    ]
    assert "2026-07-01T10:00:05+00:00" in product.cdr("extensions", "list").out
    assert "Uno" not in product.cdr("extensions", "list", "--limit", "1").out


def test_a_list_that_is_cut_off_says_after_how_many(product: Product, tmp_path: Path) -> None:
    imported(product, tmp_path, HEADER + "".join(f",a{number},Name,\n" for number in range(201)))

    said = {limit: product.cdr("extensions", "list", "--limit", limit).err for limit in ("3", "200", "201", "300")}

    assert said == {
        "3": "only the first 3 are shown; a higher --limit shows more\n",
        "200": "only the first 200 are shown; a higher --limit shows more\n",
        "201": "",
        "300": "",
    }
    assert product.cdr("extensions", "list").err == "only the first 200 are shown; --limit shows more, --json all\n"
    assert len(product.cdr("extensions", "list", "--json", "--limit", "3").json) == 3
    assert len(product.cdr("extensions", "list", "--json").json) == 201


def test_many_lines_are_imported_at_once(product: Product, tmp_path: Path) -> None:
    content = HEADER + "".join(f",a{number},Name {number},\n" for number in range(12_345))
    assert imported(product, tmp_path, content)[1] == "12,345 extensions imported, 0 lines left out\n"
    assert product.count("cdr.extensions") == 12_345
