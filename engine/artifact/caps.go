package artifact

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// capabilityXattr holds the capabilities of a file, in version 2 of struct vfs_cap_data (linux/capability.h): a word of
// version and effective flag, then the permitted and the inheritable set, low words first, all little-endian.
const capabilityXattr = "security.capability"

const (
	capsVersion   = 0x02000000
	capsEffective = 0x00000001
	capsSize      = 20
)

// capNames are the capabilities by number, without "cap_" (linux/capability.h).
var capNames = strings.Fields(`chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap
	linux_immutable net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot
	sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write
	audit_control setfcap mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf
	checkpoint_restore`)

// encodeCaps turns text such as "cap_net_raw,cap_net_admin=ep" into a value of security.capability. It reads clauses
// of names or "all", "=" or "+", and flags of e, i, p (cap_from_text(3)). A file has one effective flag: "e" goes to all
// of its capabilities or to none.
func encodeCaps(text string) (string, error) {
	var permitted, inheritable, effective uint64
	for clause := range strings.FieldsSeq(text) {
		at := strings.IndexAny(clause, "=+")
		if at <= 0 || at == len(clause)-1 {
			return "", fmt.Errorf("capabilities %q: write cap_NAME,cap_NAME=ep", text)
		}
		set, err := capSet(clause[:at])
		if err != nil {
			return "", fmt.Errorf("capabilities %q: %w", text, err)
		}
		if clause[at] == '=' {
			permitted, inheritable, effective = permitted&^set, inheritable&^set, effective&^set
		}
		for _, flag := range clause[at+1:] {
			switch flag {
			case 'p':
				permitted |= set
			case 'i':
				inheritable |= set
			case 'e':
				effective |= set
			default:
				return "", fmt.Errorf("capabilities %q: flag %q is none of e, i, p", text, flag)
			}
		}
	}
	if permitted|inheritable == 0 || effective != 0 && effective != permitted|inheritable {
		return "", fmt.Errorf("capabilities %q: a file's effective flag goes to all of its capabilities or to none", text)
	}
	head := uint32(capsVersion)
	if effective != 0 {
		head |= capsEffective
	}
	b := binary.LittleEndian.AppendUint32(nil, head)
	for _, word := range []uint64{permitted, inheritable, permitted >> 32, inheritable >> 32} {
		b = binary.LittleEndian.AppendUint32(b, uint32(word))
	}
	return string(b), nil
}

// capSet returns the set that a list of names stands for.
func capSet(names string) (set uint64, err error) {
	if names == "all" {
		return 1<<len(capNames) - 1, nil
	}
	for name := range strings.SplitSeq(strings.ToLower(names), ",") {
		short, ok := strings.CutPrefix(name, "cap_")
		n := slices.Index(capNames, short)
		if !ok || n < 0 {
			return 0, fmt.Errorf("%q is unknown", name)
		}
		set |= 1 << n
	}
	return set, nil
}

// decodeCaps returns the text of a value of security.capability, and "" for what is none.
func decodeCaps(value string) string {
	if len(value) != capsSize {
		return ""
	}
	word := func(i int) uint64 { return uint64(binary.LittleEndian.Uint32([]byte(value[4*i:]))) }
	permitted, inheritable := word(1)|word(3)<<32, word(2)|word(4)<<32
	e := ""
	if word(0)&capsEffective != 0 {
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
			if n < len(capNames) {
				name = "cap_" + capNames[n]
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
