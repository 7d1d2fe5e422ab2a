"""Run test files under MicroPython: every function `test_*`, in the order of the names.

    micropython run_micropython.py test_settings.py [more …]

Exit status 1 if any fails; each failure with its traceback.
"""

import sys

sys.path.insert(0, __file__[: __file__.rfind("/")] if "/" in __file__ else ".")
__import__("device_support")  # before a test file imports what only a board has


def main(files):
    ran = failed = 0
    for file in files:
        module = __import__(file[file.rfind("/") + 1 : -3])
        for name in sorted(dir(module)):
            if not name.startswith("test_"):
                continue
            ran += 1
            try:
                getattr(module, name)()
            except Exception as error:
                failed += 1
                print("FAILED", file, name)
                sys.print_exception(error)
    print("%d ran, %d failed" % (ran, failed))
    return 1 if failed or not ran else 0


sys.exit(main(sys.argv[1:]))
