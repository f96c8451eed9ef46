# Everything a checkout needs is made by itself: a virtual environment in .venv, from Python 3.11 or later with venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8080
MODBUS_PORT ?= 5020
STATE ?= .state
BOARD ?= board-configs/simulated.json
SEED ?= 1
COUNT ?= 15
TTY ?= auto
RATES ?= 9600 19200 115200
SITE := firmware/web/site/files.txt

.DEFAULT_GOAL := run
.PHONY: run console bundle image run-micropython micropython-image micropython-bundle flash test test-vm test-image kill-settings kill-update mutated-updates packages doubled-answers generated-requests endure-micropython mutate lint format bench bench-slow test-arm64 docs examples deb clean

$(VENV)/.made: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/.made-package: $(VENV)/.made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[package]'
	touch $@

$(VENV)/.made-bundle: $(VENV)/.made-package
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[linux]'
	touch $@

$(VENV)/.made-dev: $(VENV)/.made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

$(VENV)/.made-bench: $(VENV)/.made-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	touch $@

run: $(VENV)/.made build/keys/keyring.json $(SITE)
	exec $(BIN)/python -m hal.linux.update.supervisor --board $(BOARD) --state-dir $(STATE) \
	  --http 127.0.0.1:$(PORT) --modbus-tcp 127.0.0.1:$(MODBUS_PORT)

# The page at `/`: docs/console.md. Without a network nothing is made but the reason, and the device runs all the same.
$(SITE): $(VENV)/.made $(shell find firmware/web deploy/console -name site -prune -o -type f -print)
	$(BIN)/python -m deploy.console.build

console: $(SITE)

# Pictures of every page of the console, in build/screenshots/.
.PHONY: screenshots
screenshots: $(VENV)/.made-dev $(SITE)
	$(BIN)/python -m tests.console.screenshots

# Keys for signing updates, for development: docs/updates.md says how real ones are kept.
build/keys/keyring.json: $(VENV)/.made
	$(BIN)/python -m deploy.updates.keys build/keys --name development

# Update bundles in dist/: of this checkout for machines like this one, and of the systems there that `make image` made.
# With ARCH the first is made out of the Debian package for that processor.
bundle: $(if $(ARCH),deb,$(VENV)/.made-bundle) build/keys/keyring.json build/keys/rauc-signing.pem console
	$(BIN)/python -m deploy.updates.bundle --keys build/keys --compatible simulated --compatible raspberry-pi \
	  $(if $(ARCH),--package dist/mc252-firmware_$$($(BIN)/python -c 'import firmware; print(firmware.VERSION)')_$(ARCH).deb)
	for system in $(wildcard dist/*.root); do deploy/image/make-bundle $$system || exit 1; done

# The keys of RAUC's bundles, for development too.
build/keys/rauc-signing.pem: $(VENV)/.made
	$(BIN)/python -m deploy.updates.certificates build/keys --name development

# A disk with two systems and one system alone, in dist/, for ARCH: docs/image.md. Needs root.
image: $(VENV)/.made build/keys/keyring.json build/keys/rauc-signing.pem
	deploy/image/make-image

# MicroPython on a simulated board: its UART leads to the simulated Modbus world, its heap is what such a board has.
run-micropython: $(VENV)/.made-dev
	exec $(BIN)/python -m tests.machine.starter $(STATE) board-configs/micropython-unix.json \
	  127.0.0.1:$(PORT) 127.0.0.1:$(MODBUS_PORT)

# Files for a board that runs MicroPython, in dist/micropython: BOARD is its config. docs/micropython.md.
IMAGE = dist/micropython/$(basename $(notdir $(BOARD)))
micropython-image: $(VENV)/.made-dev $(or $(KEYRING),build/keys/keyring.json)
	$(BIN)/python -m deploy.micropython.image $(BOARD) $(IMAGE) --keyring $(or $(KEYRING),build/keys/keyring.json)

# An update for all boards that run MicroPython and take updates, in dist/. docs/updates.md.
micropython-bundle: $(VENV)/.made-dev build/keys/keyring.json
	$(BIN)/python -m deploy.micropython.bundle --keys build/keys --compatible waveshare-esp32-s3-eth-8di-8ro

# The same, onto the board that is plugged in; TTY where there are several.
flash: micropython-image
	$(BIN)/mpremote connect $(TTY) cp -r $(IMAGE)/files/. : + reset

test: $(VENV)/.made-dev build/keys/keyring.json $(SITE) lint
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not alone"
	$(BIN)/python -m pytest -m alone

# The hardware layer and the package on the interfaces of a real kernel, in a virtual machine: docs/vm-tests.md.
test-vm: $(VENV)/.made-dev
	$(BIN)/python tests/vm/run.py

# The image in a virtual machine: updates, power cuts, systems that are broken; the machine is kept in FOLDER, where one
# is named. docs/image.md. Needs root.
test-image: COUNT = 20
test-image: $(VENV)/.made-dev build/keys/keyring.json build/keys/rauc-signing.pem
	image=$$(BOARD=tests/image/board.json ARCH=$(or $(ARCH),amd64) deploy/image/make-image build/image) && \
	  $(BIN)/python -m tests.image.run --seed $(SEED) --count $(COUNT) $(if $(FOLDER),--folder $(FOLDER)) $$(echo "$$image" | tail -n 1)

# The full run of what `make test` does a few hundred times: kill -9 in the middle of storing settings.
kill-settings: $(VENV)/.made-dev
	$(BIN)/python tests/firmware/settings/kill_settings.py 10000

# The full run of what `make test` does a few times: kill -9 of everything in the middle of an update.
kill-update: $(VENV)/.made-dev
	$(BIN)/python -m tests.firmware.update.kill_update 200

# The full run of what `make test` does a thousand times: bundles, indexes and licences with a few bytes changed.
mutated-updates: $(VENV)/.made-dev
	$(BIN)/python -m tests.hal.update.mutations 10000

# Packages for every processor, of which `make test` makes this machine's.
packages: $(VENV)/.made-dev
	MC252_PACKAGES=all $(BIN)/python -m pytest tests/deploy/test_architectures.py

# The full run of what `make test` does some thousand times: answers that are doubled, delayed, reordered, repeated.
doubled-answers: $(VENV)/.made-dev
	$(BIN)/python -m tests.firmware.bus.doubled_answers 50000 $(SEED)

# Small mistakes, planted one at a time: which ones do the tests notice? Takes long; COUNT mistakes for each module.
mutate: $(VENV)/.made-dev
	$(BIN)/python tests/mutate.py --seed $(SEED) --count $(COUNT) $(MODULES)

# A board on MicroPython for long, and the whole table of wire faults; `make test` does a share of both.
endure-micropython: $(VENV)/.made-dev
	$(BIN)/python -m tests.machine.endure 10000
	MC252_WIRE=whole $(BIN)/python -m pytest tests/machine/test_wire_faults.py

# Every boundary of every field of every endpoint, of which `make test` does a share.
generated-requests: $(VENV)/.made-dev
	MC252_GENERATED=whole $(BIN)/python -m pytest tests/firmware/api/test_generated_requests.py

lint: $(VENV)/.made-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy firmware hal
	$(BIN)/python -m docs.generate --check

format: $(VENV)/.made-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The device on Debian's Python for arm64 under qemu: what a board's processor makes of it. docs/benchmarks.md.
build/arm64/python: benchmarks/make-arm64 pyproject.toml $(VENV)/.made
	benchmarks/make-arm64

bench-slow: $(VENV)/.made-bench build/arm64/python
	RATES="$(RATES)" $(BIN)/python -m benchmarks.slow

# The tests of the hardware layer and the services on that Python; the simulated line runs natively.
test-arm64: $(VENV)/.made-dev build/arm64/python
	MC252_WORLD_PYTHON=$(abspath $(BIN)/python) build/arm64/python -m pytest -p no:cacheprovider $(or $(TESTS),tests/hal tests/firmware)

bench: $(VENV)/.made-bench
	RATES="$(RATES)" $(BIN)/python -m benchmarks.run $(ROWS)

docs: $(VENV)/.made-dev
	$(BIN)/python -m docs.generate

# The examples of docs/api.md, asked of a simulated device anew.
examples: $(VENV)/.made-dev
	$(BIN)/python -m docs.examples
	$(BIN)/python -m docs.generate

# A Debian package and its bill of materials, in dist/; ARCH is amd64, arm64 or armhf, this machine's by default.
deb: $(VENV)/.made-package build/keys/keyring.json
	TOOLS=$(BIN)/python ARCH=$(ARCH) KEYRING=$(KEYRING) deploy/make-deb

clean:
	rm -rf $(VENV) .state build dist *.egg-info
