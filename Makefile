# Keyfob: two commands to begin with are `make demo` and `make test`.
# Every target sets up what it needs first (tools/setup.py) and can be interrupted.

PYTHON ?= python3
BOARD ?= virtual-esp32
ID ?= sensor-01
BROKER ?= broker.keyfob.test
BROKER_PORT ?= 8883
NTP_PORT ?= 11123
# The bench: CA, identities, broker, virtual boards. KEYFOB_HOME moves it.
export KEYFOB_HOME ?= $(CURDIR)/.keyfob
BENCH = $(KEYFOB_HOME)
KEYFOB = .venv/bin/keyfob
PYTEST = .venv/bin/python -m pytest

# Tests start thousands of programs of ours, each of which would be compiled anew where an
# environment keeps Python from writing bytecode. The checkout stays as clean as it asks for.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX ?= $(CURDIR)/build/pycache

# Options of a real board; a virtual one needs none of them.
board-options = --board $(BOARD) $(if $(PORT),--port $(PORT))
virtual = $(filter virtual-%,$(BOARD))
wifi = $(if $(WIFI_SSID),--wifi-ssid $(WIFI_SSID) $(if $(KEYFOB_WIFI_PASSWORD),--wifi-password-env KEYFOB_WIFI_PASSWORD))
# On two cores: tests wait for boards and brokers half of their time, hence four. Each worker
# begins in another part, so that they neither compute nor wait all at once.
workers = -n 4 --dist worksteal
# Suites mostly wait, and have a board, a broker and ports of their own: they run side by
# side where make can hold back the output of each (GNU make 4; macOS brings 3.81).
beside = $(if $(filter output-sync,$(.FEATURES)),--jobs=4 --output-sync=target)
again = $(if $(RERUNS), --reruns $(RERUNS))
bench = $(if $(BENCH_ADDRESS),--bench-address $(BENCH_ADDRESS)) $(if $(WIFI_SSID),--wifi-ssid $(WIFI_SSID))

.DEFAULT_GOAL := help
.PHONY: help setup demo certs broker board flash sync provision monitor hil hil-virtual hil-virtual-esp32 hil-virtual-esp8266 \
  hil-advisor-esp32 hil-advisor-esp8266 hil-long hil-long-esp32 hil-long-esp8266 hil-fifty down test test-all bench doctor-table lint clean

help: ## this page
	@echo "Keyfob gives a MicroPython board an identity, proves that it works, keeps it connected."
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null || \
	  sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1  \2/p' $(MAKEFILE_LIST)
	@echo
	@echo "Variables: BOARD=$(BOARD) PORT=$(PORT) FIRMWARE=$(FIRMWARE) ID=$(ID) BROKER=$(BROKER)"
	@echo "A real board: make flash provision hil BOARD=esp32 PORT=/dev/ttyUSB0 FIRMWARE=ESP32_GENERIC.bin \\"
	@echo "              BROKER=192.0.2.10 BENCH_ADDRESS=192.0.2.10 WIFI_SSID=workshop"

setup: ## virtual environment, Python packages, mosquitto (every target does it)
	@$(PYTHON) tools/setup.py

demo: setup ## the whole job, in a minute: BOARD=virtual-esp8266; BREAK=wrong-name breaks it
	@$(KEYFOB) demo --board $(BOARD) $(if $(BREAK),--break $(BREAK))

certs: setup ## certificate authority, broker certificate and the identity ID
	@test -e "$(BENCH)/ca" || $(KEYFOB) ca init $(if $(virtual),--no-passphrase)
	@test -e "$(BENCH)/certs/broker/$(BROKER)" || $(KEYFOB) cert broker $(BROKER)$(if $(virtual), --san IP:127.0.0.1)
	@test -e "$(BENCH)/certs/device/$(ID)" || $(KEYFOB) cert device $(ID)

broker: certs ## mosquitto with mutual TLS, and the bench's NTP server
	@$(KEYFOB) broker up --name $(BROKER) --port $(BROKER_PORT) $(if $(virtual),,--bind 0.0.0.0)
	@$(if $(virtual),$(KEYFOB) ntp up --port $(NTP_PORT),true)

board: setup ## power on a virtual board (nothing to do for a real one)
	@$(if $(virtual),$(KEYFOB) board up $(BOARD),true)

flash: board ## write MicroPython to the board: BOARD= PORT= FIRMWARE=
	@$(KEYFOB) flash $(board-options) $(if $(FIRMWARE),--firmware $(FIRMWARE))

sync: board ## bring Keyfob's files to the board: SYNC_TO=files or romfs
	@$(KEYFOB) sync $(board-options) $(if $(SYNC_TO),--to $(SYNC_TO))

provision: broker sync ## files, identity and settings: ID= BROKER= WIFI_SSID=
	@$(KEYFOB) provision $(board-options) --identity $(ID) --broker $(BROKER):$(BROKER_PORT) $(wifi)

monitor: setup ## the board's console and events
	@$(KEYFOB) monitor $(board-options)

hil: setup ## hardware-in-the-loop suites, on BOARD or BOARDS=: SUITE=smoke BENCH_ADDRESS= WIFI_SSID=
	@$(KEYFOB) hil run $(SUITE) $(if $(BOARDS),--board $(BOARD) --boards $(BOARDS),$(board-options)) $(bench)

down: setup ## stop broker, time server and virtual boards
	@$(KEYFOB) board down --all
	@$(KEYFOB) ntp down
	@$(KEYFOB) broker down

test: setup lint ## every test (long sweeps as a sample)
	@$(PYTEST) $(workers) -m "not slow"
	@$(MAKE) --no-print-directory hil-virtual

test-all: setup lint ## every test, long sweeps and fuzz runs included
	@$(PYTEST) $(workers)
	@$(MAKE) --no-print-directory hil-virtual

# The suite advisor has boards of its own, so that nothing waits for anything.
hil-virtual: setup ## all suites on a virtual ESP32, and on a virtual ESP8266 where one can be
	@$(if $(beside),echo "four runs side by side; each is shown when it has ended")
	@$(MAKE) --no-print-directory --keep-going $(beside) hil-virtual-esp32 hil-virtual-esp8266 \
	  hil-advisor-esp32 hil-advisor-esp8266

hil-virtual-esp32: setup
	@$(KEYFOB) hil run smoke keyfob --board virtual-esp32$(again)

hil-virtual-esp8266: setup
	@$(call with-32-bit,$(KEYFOB) hil run smoke keyfob --board virtual-esp8266$(again))

hil-advisor-esp32: setup
	@$(KEYFOB) hil run advisor --board virtual-esp32 --boards 1$(again)

hil-advisor-esp8266: setup
	@$(call with-32-bit,$(KEYFOB) hil run advisor --board virtual-esp8266 --boards 1$(again))

with-32-bit = if .venv/bin/python tools/micropython32.py >/dev/null; then $(1); \
  else echo "without a 32-bit MicroPython there is no ESP8266 with its own heap: its suites are left out"; fi

hil-long: setup ## the cases that take long, on both virtual kinds: about half an hour
	@$(MAKE) --no-print-directory --keep-going $(beside) hil-long-esp32 hil-long-esp8266

hil-long-esp32: setup
	@$(KEYFOB) hil run --long --board virtual-esp32

hil-long-esp8266: setup
	@$(call with-32-bit,$(KEYFOB) hil run --long --board virtual-esp8266)

hil-fifty: setup ## the suite smoke on fifty virtual boards at once
	@$(KEYFOB) hil run smoke --boards 50

bench: setup ## everything measured, which takes long (WRITE=1: to tools/RESULTS*.md)
	@.venv/bin/python tools/bench_esp8266.py $(if $(WRITE),--write)
	@.venv/bin/python tools/bench_tls.py $(if $(WRITE),--write)
	@.venv/bin/python tools/bench_pki.py $(if $(WRITE),--write)
	@.venv/bin/python tools/bench_issue.py $(if $(WRITE),--write)
	@.venv/bin/python tools/bench_crypto.py $(if $(WRITE),--write)
	@.venv/bin/python tools/bench_names.py
	@.venv/bin/python tools/bench_stack.py
	@.venv/bin/python tools/bench_hil.py $(if $(WRITE),--write)
	@.venv/bin/python tools/bench_mqtt.py $(if $(WRITE),--write) $(if $(MQTT_AS),--mqtt-as $(MQTT_AS))

doctor-table: setup ## seed faults on virtual benches, and show what the doctor says (WRITE=1: to README)
	@.venv/bin/python tools/doctor_table.py $(if $(WRITE),--write README.md)

lint: setup ## ruff, mypy, and the device code against the ports' own stubs
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/python tools/check_device.py

clean: ## remove .venv and what the tools cached here (not the bench's .keyfob)
	rm -rf .venv .setup.lock build .pytest_cache .mypy_cache .ruff_cache
