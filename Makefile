# What people type here. `make` alone shows the list; works with GNU make and BSD make.
#
#   make run       build it and guard this machine, in the foreground; Ctrl-C lifts all bans
#   make release   build it: target/release/sentryban-*; FEATURES="libipset pcap" adds what libraries in C do
#   make test      install what the tests need (as root, on Debian), then run them all
#   make check     formatting, lints, tests: what has to hold before a commit
#   make bench     measure beside the peers that are installed; five minutes or so
#   make bench-guard   the same for the running guard, as root, in network namespaces
#   make bench-sensor  the same for the sensor, under fire
#   make fuzz      SECONDS=600 of libFuzzer for each target, or TARGET=net alone
#   make man       render the man pages anew
#   make install   DESTDIR= PREFIX=/usr/local SYSCONFDIR=/etc INIT=systemd|openrc|rcd|none

CARGO = cargo
CARGO_FLAGS =
# BSDs have libpcap by themselves, and no other way to packets.
FEATURES != case $$(uname -s) in *BSD|DragonFly) echo pcap ;; esac
PREFIX = /usr/local
SYSCONFDIR != case $$(uname -s) in Linux) echo /etc ;; *) echo $(PREFIX)/etc ;; esac
INIT != if [ "$$(uname -s)" = FreeBSD ]; then echo rcd; elif [ -x /sbin/openrc-run ]; then echo openrc; \
    elif [ -d /lib/systemd/system ] || [ -d /usr/lib/systemd/system ]; then echo systemd; else echo none; fi
DESTDIR =
BUILD = target/release
SECONDS = 600
TARGET =
BENCH_FLAGS =

PROGRAMS = sentryban-client sentryban-regex sentryban-sensor sentryban-server

help:
	@sed -n 's/^#   //p' Makefile

release:
	$(CARGO) build --release --features "$(FEATURES)" $(CARGO_FLAGS)

# Who is not root bans nobody, and sees what would be done.
run: release
	target/release/sentryban-server -f --logtarget STDOUT

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

bench-guard: release
	python3 tests/bench/guard.py --record $(BENCH_FLAGS)

bench-sensor: release
	python3 tests/bench/sensor.py --record $(BENCH_FLAGS)

fuzz:
	sh contrib/fuzz/run.sh $(SECONDS) $(TARGET)

man:
	SENTRYBAN_BLESS=1 $(CARGO) test $(CARGO_FLAGS) --test man

# A file of /etc that somebody changed stays; ours is laid beside it as NAME.new.
# It builds nothing, since who installs is often root, who has no cargo; it starts nothing either.
install: install-files install-$(INIT)

install-files:
	@[ -x $(BUILD)/sentryban-regex ] || { echo "nothing is built yet: make release" >&2; exit 1; }
	mkdir -p $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(SYSCONFDIR)/sentryban/filter.d
	for program in $(PROGRAMS); do \
	    install -m 0755 $(BUILD)/$$program $(DESTDIR)$(PREFIX)/bin/ || exit 1; \
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
	for file in $$(cd jails/examples && find . -type f); do \
	    to=$(DESTDIR)$(PREFIX)/share/doc/sentryban/examples/$$file; \
	    mkdir -p "$${to%/*}" && install -m 0644 "jails/examples/$$file" "$$to" || exit 1; \
	done

# The files for init and logrotate name /usr/local/bin; here they learn the true PREFIX.
PLACE = place() { mkdir -p "$${3%/*}" && sed 's,/usr/local/,$(PREFIX)/,g' "$$2" >"$$3" && chmod "$$1" "$$3"; }; place

install-systemd: install-logrotate
	$(PLACE) 0644 contrib/systemd/sentryban.service $(DESTDIR)$(PREFIX)/lib/systemd/system/sentryban.service
	@echo "start it: systemctl daemon-reload && systemctl enable --now sentryban"

install-openrc: install-logrotate
	$(PLACE) 0755 contrib/openrc/sentryban $(DESTDIR)$(SYSCONFDIR)/init.d/sentryban
	@echo "start it: rc-update add sentryban && rc-service sentryban start"

install-rcd:
	$(PLACE) 0755 contrib/freebsd/sentryban $(DESTDIR)$(PREFIX)/etc/rc.d/sentryban
	$(PLACE) 0644 contrib/freebsd/newsyslog.conf $(DESTDIR)$(PREFIX)/etc/newsyslog.conf.d/sentryban.conf
	@echo "start it: sysrc sentryban_enable=YES && service sentryban start"

install-logrotate:
	$(PLACE) 0644 contrib/logrotate/sentryban $(DESTDIR)$(SYSCONFDIR)/logrotate.d/sentryban

install-none:
	@echo "start it: $(PREFIX)/bin/sentryban-server"

.PHONY: help release run test check bench bench-guard bench-sensor fuzz man install install-files \
    install-systemd install-openrc install-rcd install-logrotate install-none
