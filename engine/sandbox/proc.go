package sandbox

import (
	"fmt"
	"runtime"
	"strings"
)

// processors is the number that every machine shows in /proc. (What nproc prints is sched_getaffinity's answer: the
// kernel's own, which nothing short of tracing each process can fake, and pinning the sandbox would cost the cores.
// Recipes take their job count from the jobserver.)
const processors = 2

// fixedProc returns the files of /proc that say the same on every machine.
func fixedProc() map[string]string {
	return map[string]string{
		"cmdline": "quiet\n",
		"cpuinfo": cpuinfo(runtime.GOARCH),
		"loadavg": "0.00 0.00 0.00 1/64 1\n",
		"meminfo": meminfo,
		"stat":    procStat(),
		"swaps":   "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n",
		"uptime":  "3600.00 7200.00\n",
		"version": "Linux version 6.7.0 (vfsb@vfsb) #1 SMP\n",

		"sys/kernel/random/boot_id": "00000000-0000-4000-8000-000000000000\n",
	}
}

// emptyProc names the files of /proc that tell of the machine or reach into its kernel, and read as empty; missing ones
// are left missing. /proc/self/mountinfo still names folders of the host (as roots of /build and /out), and uname the
// kernel's release: no namespace covers them.
var emptyProc = strings.Fields(`buddyinfo config.gz crypto devices diskstats interrupts iomem ioports kallsyms kcore
	key-users keys kmsg kpagecgroup kpagecount kpageflags locks modules mtrr pagetypeinfo partitions sched_debug
	schedstat slabinfo softirqs sysrq-trigger timer_list vmallocinfo vmstat zoneinfo`)

// emptyProcDirs are its folders of that kind.
var emptyProcDirs = strings.Fields(`acpi asound bus device-tree driver dynamic_debug fs irq pressure scsi`)

const meminfo = `MemTotal:       16777216 kB
MemFree:         8388608 kB
MemAvailable:   12582912 kB
Buffers:               0 kB
Cached:          4194304 kB
SwapCached:            0 kB
SwapTotal:             0 kB
SwapFree:              0 kB
`

func procStat() string {
	line := " 100000 0 100000 1000000 0 0 0 0 0 0\n"
	s := "cpu " + line
	for i := range processors {
		s += fmt.Sprintf("cpu%d%s", i, line)
	}
	return s + "intr 0\nctxt 0\nbtime 1767225600\nprocesses 1\nprocs_running 1\nprocs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n"
}

// cpuinfo describes the least processor of an architecture.
func cpuinfo(arch string) string {
	var s string
	for i := range processors {
		switch arch {
		case "amd64":
			s += fmt.Sprintf("processor\t: %d\nvendor_id\t: vfsb\ncpu family\t: 6\nmodel\t\t: 1\nmodel name\t: x86-64\nstepping\t: 1\n"+
				"cpu MHz\t\t: 1000.000\ncache size\t: 1024 KB\nphysical id\t: 0\nsiblings\t: %d\ncore id\t\t: %d\ncpu cores\t: %d\n"+
				"fpu\t\t: yes\nfpu_exception\t: yes\ncpuid level\t: 1\nwp\t\t: yes\n"+
				"flags\t\t: fpu tsc msr cx8 cmov mmx fxsr sse sse2 syscall nx lm\nbogomips\t: 2000.00\n"+
				"clflush size\t: 64\ncache_alignment\t: 64\naddress sizes\t: 40 bits physical, 48 bits virtual\n\n", i, processors, i, processors)
		case "arm64":
			s += fmt.Sprintf("processor\t: %d\nBogoMIPS\t: 100.00\nFeatures\t: fp asimd\nCPU implementer\t: 0x00\n"+
				"CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0x000\nCPU revision\t: 0\n\n", i)
		case "riscv64":
			s += fmt.Sprintf("processor\t: %d\nhart\t\t: %d\nisa\t\t: rv64imafdc\nmmu\t\t: sv39\n\n", i, i)
		default:
			s += fmt.Sprintf("processor\t: %d\n\n", i)
		}
	}
	return s
}
