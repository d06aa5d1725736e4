"""Packages and outside addresses on the command line, with a package route that answers."""

from __future__ import annotations

from support.package_lists import package, requirement

from .conftest import Served


def lead(served: Served) -> None:
    served.ok("project", "add-member", "alpha", "sam", "--role", "lead", "--as", "ada")


def test_a_lead_asks_for_one_version_and_an_administrator_decides(served: Served) -> None:
    lead(served)
    served.route.add(package("lifelines", "0.30.0"), package("closed", licence="Proprietary"))
    add = ["packages", "add", "pypi", "lifelines", "0.30.0", "--project", "alpha", "--why", "Curves."]
    assert "lifelines 0.30.0 is proposed: 2 files." in served.ok(*add, "--as", "sam")
    assert "asked for already" in served.fails(*add, "--as", "sam")
    assert "Only a platform admin" in served.fails("packages", "approve", "lifelines@0.30.0", "--as", "sam")
    assert "1 may be installed" in served.ok("packages", "approve", "lifelines@0.30.0", "--as", "ada")
    assert "sha256:" in served.ok("packages", "show", "lifelines", "--as", "ruth")
    odd = ["packages", "add", "pypi", "closed", "1.0.0", "--why", "Bought.", "--as", "ada"]
    assert "Say why" in served.fails(*odd)
    assert "is allowed" in served.ok(*odd, "--licence-reason", "We have a licence.")
    served.ok("packages", "remove", "lifelines", "--reason", "A flaw.", "--as", "ada")
    assert served.json("packages", "list", "--status", "removed", "--as", "ruth")[0]["reason"] == "A flaw."
    assert "is proposed" in served.ok("packages", "again", "lifelines@0.30.0", "--as", "sam")


def test_a_package_of_r_is_found_by_its_name_in_either_case(served: Served) -> None:
    served.route.add(package("Matrix") | {"ecosystem": "cran"})
    served.ok("packages", "add", "cran", "Matrix", "1.0.0", "--why", "Sparse ones.", "--as", "ada")
    for name in ("Matrix", "matrix", "Matrix@1.0.0"):
        assert "sha256:" in served.ok("packages", "show", name, "--as", "ruth")
    served.fails("packages", "show", "Matri", "--as", "ruth")


def test_a_lock_file_is_shown_taken_and_allowed_in_one_go(served: Served) -> None:
    lead(served)
    served.route.add(package("numpy"), package("numpi"))
    served.ok("packages", "add", "pypi", "numpy", "1.0.0", "--why", "Everybody needs it.", "--as", "ada")
    lock = served.home / "requirements.txt"
    lock.write_text("\n".join([requirement("numpy"), requirement("numpi"), requirement("gone"), "-e ."]))
    ask = ["packages", "import", str(lock), "--project", "alpha", "--why", "Our model.", "--as", "sam"]
    seen = served.run(*ask, "--dry-run")
    assert "2 of 3 are not on the list yet." in seen.stdout
    assert "numpi looks like numpy" in seen.stderr
    assert "2 are asked for, 1 were known before." in served.ok(*ask)
    served.work()
    assert "1 may be installed" in served.ok(
        "packages", "approve", "--project", "alpha", "--all", "--as", "ada"
    )
    left = served.json("packages", "list", "--project", "alpha", "--status", "proposed", "--as", "ada")
    assert [(row["name"], row["problem"]) for row in left] == [
        ("gone", "The registry does not have gone 1.0.0.")
    ]
    assert "1 are declined" in served.ok("packages", "decline", "gone", "--reason", "No such.", "--as", "sam")
    served.fails("packages", "approve", "--as", "ada", code=2)
    assert "cannot be read" in served.fails("packages", "import", "no.txt", "--why", "x", "--as", "ada")


def test_an_address_is_asked_for_and_decided_by_its_name(served: Served) -> None:
    lead(served)
    resource = ["project", "resource"]
    address = ["alpha", "genes", "https://example.org/genes.tsv", "--largest", "500", "--why", "Names."]
    assert "genes is proposed." in served.ok(*resource, "add", *address, "--as", "sam")
    assert "genes is allowed." in served.ok(*resource, "approve", "alpha", "genes", "--as", "ada")
    assert "500" in served.ok(*resource, "list", "alpha", "--as", "ruth")
    remove = [*resource, "remove", "alpha", "genes", "--reason", "It moved."]
    assert "genes is removed." in served.ok(*remove, "--as", "ada")
    assert "not possible now" in served.fails(*remove, "--as", "ada")
