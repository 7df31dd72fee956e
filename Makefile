# The one front door: `make run` starts a server, `make test` tests everything, `make check` is what must hold before a commit.
# Each fetches what it needs, or says in one line what to install.

CARGO   ?= cargo
HOME_OF := $(if $(LOCKGATE_HOME),--home $(LOCKGATE_HOME),)

# The documentation is for those who change the code: there, links to private items are links to follow.
DOC_LINTS := -D warnings -A rustdoc::private_intra_doc_links

.PHONY: run build test check bench crash fmt setup help fuzz differential

help:
	@echo "make run     build and start a server (LOCKGATE_HOME=DIR chooses where it keeps its files)"
	@echo "make test    every test, with real clients and servers"
	@echo "make check   formatting, lints, layers, licences and advisories, documentation"
	@echo "make bench   compare with other servers, side by side"
	@echo "make crash   kill the server and cut its power in the middle of uploads, 1,000 times (ROUNDS=N)"
	@echo "make fuzz    any bytes at the parsers and at whole sessions, each target for FUZZ_SECONDS (60)"
	@echo "make differential  ten thousand FTP sessions, compared with libunftp and vsftpd (SESSIONS=N)"

need-cargo:
	@command -v $(CARGO) >/dev/null || { echo "Rust is missing: install it with rustup (rustup.rs), then run make again"; exit 1; }
	@command -v cc >/dev/null || { echo "a C compiler is missing: apt-get install gcc"; exit 1; }

build: need-cargo
	$(CARGO) build --release --locked

run: build
	target/release/lockgate $(HOME_OF) serve

setup:
	@tests/setup

test: need-cargo setup
	$(CARGO) build --locked --workspace
	$(CARGO) test --locked --workspace

check: need-cargo
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) test --locked -p lockgate-tests --test layers
	@tests/advisories
	RUSTDOCFLAGS="$(DOC_LINTS)" $(CARGO) doc --locked --workspace --no-deps --document-private-items

# A thousand kills and five hundred power cuts in the middle of uploads over every door; about an hour.
crash: need-cargo setup
	LOCKGATE_CRASH_ROUNDS=$(or $(ROUNDS),1000) $(CARGO) test --locked -p lockgate-tests --test e2e -- rules::crash

fuzz: need-cargo
	fuzz/run

# Twenty minutes on two cores: the ports of closed connections are waited for.
differential: need-cargo setup
	tests/differential

# An hour; one row alone: make bench BENCH="--only sftp-get-gcm". The rows: tests/bench/run --list
bench: build setup
	tests/bench/run $(BENCH)

fmt:
	$(CARGO) fmt --all
