import gc, sys

gc.threshold(1024)  # what stays goes to the heap's start, as if it had always been there
if len(sys.argv) > 3:  # the port as compiled files in an image, outside the heap as in flash
    import _native

    _native.mount_port(sys.argv[3])
else:
    sys.path[1:] = [sys.argv[2]]
import _boot8266

_boot8266.run(globals())
