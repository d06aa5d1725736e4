# The node: its namespaces, network and processes; sourced by testbed.

# started_at PID: in clock ticks after boot; fails for a process that is gone, or ended and only not yet reaped
# (the first process of a container may never reap what it did not start).
started_at() {
	local stat
	stat=$(<"/proc/$1/stat") && set -- ${stat##*) } && [[ $1 != [ZX] ]] && echo "${20}"
}

# record NAME PID and alive NAME: the start time guards against a reused pid.
record() { echo "$2 $(started_at "$2")" >"$STATE/run/$1.pid"; }
recorded_pid() { cut -d' ' -f1 "$STATE/run/$1.pid"; }
alive() {
	local pid start
	read -r pid start 2>/dev/null <"$STATE/run/$1.pid" || return 1
	[ "$(started_at "$pid" 2>/dev/null)" = "$start" ]
}

in_node() { nsenter --target "$(recorded_pid node)" --mount --uts --ipc --net --pid -- "$@"; }

# spawn NAME COMMAND...: in the background, counted in the node's memory cgroup.
spawn() {
	local name=$1
	shift
	(
		echo "$BASHPID" >"/sys/fs/cgroup/memory/$NODE/system/cgroup.procs"
		exec setsid "$@"
	) >>"$STATE/log/$name.log" 2>&1 </dev/null 9>&- & # 9: the lock of `up`
}

# start NAME COMMAND...: run it in the node, unless it runs already.
start() {
	local name=$1
	shift
	! alive "$name" || return 0
	spawn "$name" nsenter --target "$(recorded_pid node)" --mount --uts --ipc --net --pid -- "$@"
	record "$name" $!
}

# The node's first process: private /proc, /run, /var/lib and /var/log, then
# reap orphans. When it ends, the kernel ends all that runs in the node.
node_init() {
	local pid
	read -r pid _ </proc/self/stat # still the machine's /proc: the pid seen from outside
	mount -t proc proc /proc
	mount -t tmpfs tmpfs /run
	mkdir -p /run/netns
	mount --bind "$STATE/node/lib" /var/lib
	mount --bind "$STATE/node/log" /var/log
	mount --make-rshared /
	hostname "$NODE"
	echo "$pid" >"$STATE/run/node.ready"
	trap 'exit 0' TERM
	while true; do sleep 1000 & wait $! || true; done
}

make_cgroups() {
	local root file
	for root in /sys/fs/cgroup/*/; do
		[ -e "$root/cgroup.procs" ] || continue
		mkdir -p "$root/$NODE"
		for file in cpuset.cpus cpuset.mems; do
			[ ! -e "$root/$file" ] || cat "$root/$file" >"$root/$NODE/$file"
		done
	done
	mkdir -p "/sys/fs/cgroup/memory/$NODE/system"
}

remove_cgroups() { # the kernel may need a moment after the last process ends
	find /sys/fs/cgroup/*/"$NODE" -depth -type d -exec rmdir {} + 2>/dev/null || true
	! compgen -G "/sys/fs/cgroup/*/$NODE" >/dev/null
}

start_node() {
	! alive node || return 0
	[ ! -e /sys/class/net/$NODE ] || die "network device $NODE exists: choose another TESTBED_INDEX"
	rm -f "$STATE"/run/*
	make_cgroups
	spawn node unshare --net --mount --uts --ipc --pid --fork --propagation private "$HERE/testbed" node-init
	wait_for 10 "the node's namespaces" test -s "$STATE/run/node.ready"
	record node "$(<"$STATE/run/node.ready")"
	connect_network
}

# A veth pair joins node and host. The node gets no default route: it reaches
# the host's end of the pair and nothing beyond, and the firewall closes that too.
connect_network() {
	ip link add "$NODE" type veth peer name eth0 netns "$(recorded_pid node)"
	sysctl -qw "net.ipv6.conf.$NODE.disable_ipv6=1"
	ip addr add "$HOST_IP/30" dev "$NODE"
	ip link set "$NODE" up
	in_node sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 \
		net.ipv6.conf.eth0.disable_ipv6=1
	in_node ip link set lo up
	in_node ip addr add "$NODE_IP/30" dev eth0
	in_node ip link set eth0 up
	in_node ip route add "$SERVICE_CIDR" dev eth0 # kube-proxy rewrites the address before it leaves
	# Calico's pods use this gateway; the node answers for it only if it has a route to it
	in_node ip route add 169.254.1.1 dev eth0
	in_node nft -f "$STATE/config/firewall.nft"
	ip route add "$POD_CIDR" via "$NODE_IP"
	ip route add "$SERVICE_CIDR" via "$NODE_IP"
}
