package sandbox

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// handlers are what binfmt_misc is told of each machine's programs: how the ELF header of an executable or shared
// object begins. ABI and padding (bytes 7 to 15) may be anything.
var handlers = map[string]string{
	"amd64":   elfHandler(2, 62),
	"arm64":   elfHandler(2, 183),
	"armv7":   elfHandler(1, 40),
	"i686":    elfHandler(1, 3),
	"riscv64": elfHandler(2, 243),
}

// elfHandler is the line that registers little-endian programs of a class (1: 32 bits, 2: 64) and machine. Flag F opens
// the interpreter now, so that the root need not hold it; P hands the program's own argv[0] on; C gives the rights of
// the program's file, not the interpreter's, and lets programs run that cannot be read.
func elfHandler(class, machine byte) string {
	magic := []byte{0x7f, 'E', 'L', 'F', class, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, machine, 0}
	mask := []byte{255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 254, 255, 255, 255} // 2 and 3 differ in a bit
	return fmt.Sprintf(":vfsb:M:0:%s:%s:%%s:FPC", hexEscaped(magic), hexEscaped(mask))
}

func hexEscaped(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		fmt.Fprintf(&s, `\x%02x`, c)
	}
	return s.String()
}

// makeBinfmt gives the user namespace a binfmt_misc of its own, never attached: what the host has registered does not
// count, and the command cannot switch off what is registered here. Kernels before 6.7 have one instance, the host's:
// there no emulator can be had, and without one the host's handlers stay in sight.
func (p *pid1) makeBinfmt() error {
	fd, err := newMount("binfmt_misc", attrsNone)
	if p.order.Probe {
		answer := "ok"
		if err != nil {
			answer = err.Error()
		}
		return send(controlFD, report{Binfmt: answer})
	}
	if err != nil {
		if p.order.Handler != "" {
			return at(stepBinfmt, err)
		}
		return nil
	}
	p.binfmt = fd
	if p.order.Handler == "" {
		return nil
	}
	names, err := links("emulator", []string{p.order.Interpreter})
	if err != nil {
		return err
	}
	register, err := unix.Openat(fd, "register", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return at(stepBinfmt, err)
	}
	defer unix.Close(register)
	_, err = unix.Write(register, fmt.Appendf(nil, p.order.Handler, names[0]))
	return at(stepBinfmt, err)
}
