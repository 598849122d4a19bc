"""Two small posteriors of posteriordb for `inference/tests/suite/posteriordb.rs`.

    python tests/golden/make_posteriordb.py FOLDER

FOLDER holds posteriordb_data/{eight_schools,kilpisjarvi_mod}.json and posteriordb_reference.csv:
data of stan-dev/posteriordb (BSD-3-Clause, commit 28f8d3d6, 2025-04-29) and mean, standard
deviation and Monte Carlo standard error of its published reference draws (10 chains x 1000). Writes
posteriordb.csv: rows `posterior,data,KEY,numbers` and `posterior,reference,PARAMETER,mean,sd,mcse`.
"""

import csv
import json
import sys
from pathlib import Path

folder, here = Path(sys.argv[1]), Path(__file__).resolve().parent
names = {
    "eight_schools-eight_schools_noncentered": "eight_schools",
    "kilpisjarvi_mod-kilpisjarvi": "kilpisjarvi_mod",
}
with open(here / "posteriordb.csv", "w", newline="") as out:
    out.write(
        "# Data and reference moments of stan-dev/posteriordb, commit 28f8d3d6. BSD 3-Clause License,\n"
        "# Copyright (c) 2019, Stan Developers and their Assignees. Made by make_posteriordb.py.\n"
    )
    for posterior, file in names.items():
        data = json.loads((folder / f"posteriordb_data/{file}.json").read_text())
        for key, value in data.items():
            numbers = value if isinstance(value, list) else [value]
            out.write(",".join([posterior, "data", key, *map(repr, numbers)]) + "\n")
        with open(folder / "posteriordb_reference.csv") as table:
            for row in csv.DictReader(table):
                if row["posterior"] == posterior:
                    moments = [row["mean"], row["sd"], row["mcse_mean_iid"]]
                    out.write(",".join([posterior, "reference", row["parameter"], *moments]) + "\n")
