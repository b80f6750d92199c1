# Runs its arguments, which make the namespaces, and outlives them: no namespace takes its cgroup folders with it when
# it ends. Removed are those of this keeper and those of keepers that were killed before they could do it.
trap : HUP INT QUIT TERM
export TESTBED_CGROUP="testbed-$$"

folders() { find /sys/fs/cgroup -maxdepth 2 -type d -name "$1" 2>/dev/null; }
remove() { folders "$1" | while read -r top; do find "$top" -depth -type d -exec rmdir {} + 2>/dev/null; done; }

for keeper in $(folders 'testbed-*' | sed 's/.*-//' | sort -u); do
    [ -e "/proc/$keeper" ] || remove "testbed-$keeper"
done

"$@"
status=$?

# The last processes may be a moment in ending. Five seconds: nobody waits longer for an empty folder.
for try in 1 2 3 4 5 6 7 8 9 10; do
    remove "$TESTBED_CGROUP"
    [ -z "$(folders "$TESTBED_CGROUP")" ] && break
    sleep 0.5
done
exit $status
