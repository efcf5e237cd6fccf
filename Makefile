# What people type here. `make` alone shows the list; works with GNU make and BSD make.
#
#   make run       build it and show what it does to a sample log
#   make release   build it: target/release/sentryban-*
#   make test      install what the tests need (as root, on Debian), then run them all
#   make check     formatting, lints, tests: what has to hold before a commit
#   make bench     measure beside the peers that are installed; five minutes or so
#   make fuzz      SECONDS=600 of libFuzzer for each target, or TARGET=net alone
#   make man       render the man pages anew
#   make install   DESTDIR= PREFIX=/usr/local SYSCONFDIR=/etc

CARGO = cargo
CARGO_FLAGS =
PREFIX = /usr/local
SYSCONFDIR != case $$(uname -s) in Linux) echo /etc ;; *) echo $(PREFIX)/etc ;; esac
DESTDIR =
SECONDS = 600
TARGET =
BENCH_FLAGS =

PROGRAMS = sentryban-client sentryban-regex sentryban-server
SAMPLE_LOG = tests/data/portsentry-messages.log
SAMPLE_FILTER = filters/portsentry.conf

help:
	@sed -n 's/^#   //p' Makefile

release:
	$(CARGO) build --release $(CARGO_FLAGS)

run: release
	@echo "The guard itself is not there yet: this reads a log and shows what it would have counted."
	target/release/sentryban-regex $(SAMPLE_LOG) $(SAMPLE_FILTER)

# Doc tests first, so that the last summary on the screen is that of the tests proper.
test:
	sh tests/tools.sh
	$(CARGO) test $(CARGO_FLAGS) --doc
	$(CARGO) test $(CARGO_FLAGS) --lib --bins --tests

check:
	$(CARGO) fmt --check
	$(CARGO) clippy $(CARGO_FLAGS) --all-targets -- -D warnings
	$(MAKE) test

bench: release
	python3 tests/bench/run.py --record $(BENCH_FLAGS)

fuzz:
	sh contrib/fuzz/run.sh $(SECONDS) $(TARGET)

man:
	SENTRYBAN_BLESS=1 $(CARGO) test $(CARGO_FLAGS) --test man

# A file of /etc that somebody changed stays; ours is laid beside it as NAME.new.
# It builds nothing, since who installs is often root, who has no cargo.
install:
	@[ -x target/release/sentryban-regex ] || { echo "nothing is built yet: make release" >&2; exit 1; }
	mkdir -p $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(SYSCONFDIR)/sentryban/filter.d
	for program in $(PROGRAMS); do \
	    install -m 0755 target/release/$$program $(DESTDIR)$(PREFIX)/bin/ || exit 1; \
	done
	for page in man/*.[1-8]; do \
	    to=$(DESTDIR)$(PREFIX)/share/man/man$${page##*.}; \
	    mkdir -p $$to && install -m 0644 $$page $$to/ || exit 1; \
	done
	for file in filters/*.conf jails/*.conf; do \
	    [ -f "$$file" ] || continue; \
	    case $$file in \
	        filters/*) to=$(DESTDIR)$(SYSCONFDIR)/sentryban/filter.d/$${file##*/} ;; \
	        *) to=$(DESTDIR)$(SYSCONFDIR)/sentryban/$${file##*/} ;; \
	    esac; \
	    if [ -e "$$to" ] && ! cmp -s "$$file" "$$to"; then \
	        echo "$$to was changed here and stays; the new one is $$to.new"; to=$$to.new; \
	    fi; \
	    install -m 0644 "$$file" "$$to" || exit 1; \
	done

.PHONY: help release run test check bench fuzz man install
