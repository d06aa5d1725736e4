"""Who is in the demo, and in which project. Invented people; the roles are those of a real TRE."""

from __future__ import annotations

from dataclasses import dataclass

from broch.demo.datasets import DICOM_SAMPLES, WISCONSIN
from broch_core.actors import PlatformRole, ProjectRole


@dataclass(frozen=True)
class DemoPerson:
    """One person who can sign in to the demo."""

    handle: str
    """Sign-in name: short, lower case."""
    name: str
    role: str
    """One line for the sign-in page: who this is and what to try as them."""
    platform_roles: frozenset[PlatformRole] = frozenset()
    owns: tuple[str, ...] = ()
    """Slugs of the datasets that this person answers for."""


@dataclass(frozen=True)
class DemoMembership:
    """One person in one project."""

    handle: str
    role: ProjectRole
    may_export: bool
    """Whether the asset owner lets this person submit results for release."""


@dataclass(frozen=True)
class DemoProject:
    """One approved project with its grants and members."""

    slug: str
    name: str
    purpose: str
    datasets: tuple[str, ...]
    """Slugs of the datasets granted, read-only."""
    members: tuple[DemoMembership, ...]
    days: int
    """From today to the end date."""


ADA = DemoPerson(
    "ada",
    "Ada Lindqvist",
    "Researcher, radiomics. Leads Tumour texture: open her workspace and run the notebook.",
)
MATEO = DemoPerson(
    "mateo",
    "Mateo Okonkwo",
    "Researcher, biostatistics. Leads Honest odds: he sees his own project and nothing of Ada's.",
)
RUTH = DemoPerson(
    "ruth",
    "Ruth Wanjiru",
    "Output checker. Looks for small cells first: decide on a file without seeing Tomasz's decision.",
    frozenset({PlatformRole.REVIEWER}),
)
TOMASZ = DemoPerson(
    "tomasz",
    "Tomasz Haddad",
    "Output checker. Reads the code before the numbers: the second, independent decision.",
    frozenset({PlatformRole.REVIEWER}),
)
MEI = DemoPerson(
    "mei",
    "Mei Fairweather",
    "Data steward. Registers datasets and seals their versions.",
    frozenset({PlatformRole.STEWARD}),
)
IDRIS = DemoPerson(
    "idris",
    "Idris Castellano",
    "Information asset owner. Answers for both datasets and says who may export from them.",
    frozenset({PlatformRole.ASSET_OWNER}),
    owns=(DICOM_SAMPLES.slug, WISCONSIN.slug),
)
SUNNIVA = DemoPerson(
    "sunniva",
    "Sunniva Rao",
    "Administrator. Runs the platform, freezes it in an emergency, reads the audit log.",
    frozenset({PlatformRole.ADMIN}),
)

PEOPLE: tuple[DemoPerson, ...] = (ADA, MATEO, RUTH, TOMASZ, MEI, IDRIS, SUNNIVA)

TUMOUR_TEXTURE = DemoProject(
    slug="tumour-texture",
    name="Tumour texture",
    purpose=(
        "Does the texture of a tumour, in a scan or under the microscope, say how dangerous it is? We measure "
        "intensity and texture on CT, MR and ultrasound images, and test on biopsy data how well texture and shape "
        "of cell nuclei separate malignant from benign masses. Patients benefit if fewer of them need a second "
        "biopsy. We will release model coefficients and summary statistics over at least ten people, never images "
        "or rows."
    ),
    datasets=(DICOM_SAMPLES.slug, WISCONSIN.slug),
    members=(DemoMembership(ADA.handle, ProjectRole.LEAD, may_export=True),),
    days=180,
)
HONEST_ODDS = DemoProject(
    slug="honest-odds",
    name="Honest odds",
    purpose=(
        "When a model says '80 in 100', are 80 in 100 such masses malignant? We check the calibration of simple "
        "risk scores on biopsy data, so that clinics can tell patients an honest number. The project uses the "
        "biopsy table only; images are not needed and were not asked for. We will release calibration in bands of "
        "at least ten people and the model's coefficients."
    ),
    datasets=(WISCONSIN.slug,),
    members=(DemoMembership(MATEO.handle, ProjectRole.LEAD, may_export=True),),
    days=90,
)

PROJECTS: tuple[DemoProject, ...] = (TUMOUR_TEXTURE, HONEST_ODDS)
