package cache

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// The value of security.capability, version 2 (linux/capability.h, struct vfs_cap_data): a word with the version and the
// effective flag, then permitted and inheritable sets, low words first, all little-endian. Version 3 appends the user id
// that is root in the namespace that set it.
const (
	capabilityV2     = 0x02000000
	capabilityV2Size = 20
	capabilityV3     = 0x03000000
	capabilityV3Size = 24
	capabilityFlags  = 0x00000001 // the effective flag
)

// capabilityNames are the capabilities by number (linux/capability.h).
var capabilityNames = []string{
	"cap_chown", "cap_dac_override", "cap_dac_read_search", "cap_fowner", "cap_fsetid", "cap_kill", "cap_setgid",
	"cap_setuid", "cap_setpcap", "cap_linux_immutable", "cap_net_bind_service", "cap_net_broadcast", "cap_net_admin",
	"cap_net_raw", "cap_ipc_lock", "cap_ipc_owner", "cap_sys_module", "cap_sys_rawio", "cap_sys_chroot",
	"cap_sys_ptrace", "cap_sys_pacct", "cap_sys_admin", "cap_sys_boot", "cap_sys_nice", "cap_sys_resource",
	"cap_sys_time", "cap_sys_tty_config", "cap_mknod", "cap_lease", "cap_audit_write", "cap_audit_control",
	"cap_setfcap", "cap_mac_override", "cap_mac_admin", "cap_syslog", "cap_wake_alarm", "cap_block_suspend",
	"cap_audit_read", "cap_perfmon", "cap_bpf", "cap_checkpoint_restore",
}

// EncodeCaps turns text such as "cap_net_raw,cap_net_admin=ep" (cap_from_text(3)) into the version 2 value of
// security.capability. A file has one effective flag for all of its capabilities, so "e" goes to all or to none.
func EncodeCaps(text string) (string, error) {
	var sets [3]uint64 // effective, permitted, inheritable
	clauses := strings.Fields(text)
	if len(clauses) == 0 {
		return "", fmt.Errorf("capabilities %q: want text such as \"cap_net_raw+ep\"", text)
	}
	for _, clause := range clauses {
		i := strings.IndexAny(clause, "=+-")
		if i < 0 {
			return "", fmt.Errorf("capabilities %q: %q has no '=', '+' or '-'", text, clause)
		}
		bits, err := capabilityBits(clause[:i])
		if err != nil || clause[:i] == "" && clause[i] != '=' {
			return "", fmt.Errorf("capabilities %q: unknown capability in %q", text, clause)
		}
		var op byte
		for _, c := range []byte(clause[i:]) {
			flag := strings.IndexByte("epi", c)
			switch {
			case c == '=':
				for f := range sets {
					sets[f] &^= bits
				}
				op = c
			case c == '+' || c == '-':
				op = c
			case flag < 0:
				return "", fmt.Errorf("capabilities %q: flag %q is not one of e, i, p", text, c)
			case op == '-':
				sets[flag] &^= bits
			default:
				sets[flag] |= bits
			}
		}
	}
	head := uint32(capabilityV2)
	if sets[0] != 0 {
		if sets[0] != sets[1]|sets[2] {
			return "", fmt.Errorf("capabilities %q: a file's effective flag is for all of its capabilities or for none", text)
		}
		head |= capabilityFlags
	}
	b := binary.LittleEndian.AppendUint32(nil, head)
	for shift := 0; shift < 64; shift += 32 {
		b = binary.LittleEndian.AppendUint32(b, uint32(sets[1]>>shift))
		b = binary.LittleEndian.AppendUint32(b, uint32(sets[2]>>shift))
	}
	return string(b), nil
}

// capabilityBits returns the set that a comma-separated list of names, "all" or "" stands for.
func capabilityBits(names string) (bits uint64, err error) {
	if names == "" || names == "all" {
		return 1<<len(capabilityNames) - 1, nil
	}
	for name := range strings.SplitSeq(names, ",") {
		i := slices.Index(capabilityNames, strings.ToLower(name))
		if i < 0 {
			return 0, fmt.Errorf("unknown capability %q", name)
		}
		bits |= 1 << i
	}
	return bits, nil
}

// normalCapability returns the version 2 form of a value of security.capability: a version 3 value without its user id,
// which tells of the machine. It reports false for what is neither.
func normalCapability(v string) (string, bool) {
	if len(v) < 4 {
		return "", false
	}
	head := binary.LittleEndian.Uint32([]byte(v))
	switch {
	case head&^capabilityFlags == capabilityV2 && len(v) == capabilityV2Size:
		return v, true
	case head&^capabilityFlags == capabilityV3 && len(v) == capabilityV3Size:
		b := binary.LittleEndian.AppendUint32(nil, capabilityV2|head&capabilityFlags)
		return string(b) + v[4:capabilityV2Size], true
	}
	return "", false
}

// DecodeCaps returns the text of a value of security.capability, and "" for what is none.
func DecodeCaps(value string) string {
	if len(value) != capabilityV2Size {
		return ""
	}
	word := func(i int) uint64 { return uint64(binary.LittleEndian.Uint32([]byte(value[4*i:]))) }
	permitted, inheritable := word(1)|word(3)<<32, word(2)|word(4)<<32
	e := ""
	if word(0)&capabilityFlags != 0 {
		e = "e"
	}
	var clauses []string
	for _, c := range []struct {
		set   uint64
		flags string
	}{{permitted & inheritable, "ip"}, {permitted &^ inheritable, "p"}, {inheritable &^ permitted, "i"}} {
		var names []string
		for n := range 64 {
			if c.set>>n&1 == 0 {
				continue
			}
			name := fmt.Sprint("cap_", n) // unknown: left to the reader of the text to refuse
			if n < len(capabilityNames) {
				name = capabilityNames[n]
			}
			names = append(names, name)
		}
		if names != nil {
			clauses = append(clauses, strings.Join(names, ",")+"="+e+c.flags)
		}
	}
	if clauses == nil {
		return "all="
	}
	return strings.Join(clauses, " ")
}
