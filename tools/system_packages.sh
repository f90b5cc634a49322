#!/bin/sh
# Installs what some tests need beside Python: a browser and nginx, on Debian as root. Where it cannot, it says so and
# succeeds: those tests skip themselves, with the reason.
set -u

missing=""
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || missing="chromium"
command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || missing="$missing nginx"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "Not here, and not to be installed by this user: $missing. The tests that need them are skipped."
    exit 0
fi

echo "Installing for the tests: $missing"
policy=/usr/sbin/policy-rc.d # the tests want the program, not a web server that starts with the machine
if ! [ -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
fi
# shellcheck disable=SC2086
apt-get update -qq >/dev/null 2>&1 &&
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 ||
    echo "apt-get could not install $missing. The tests that need them are skipped."
exit 0
