"""The controller as its own process: `python run_controller.py SETTINGS.json`."""

import sys
from pathlib import Path

from broch_core.web.logs import set_up_logs
from broch_workspaces.cluster.controller import main, read_settings

if __name__ == "__main__":
    set_up_logs("json")
    main(read_settings(Path(sys.argv[1])))
