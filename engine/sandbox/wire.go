package sandbox

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// The engine and pid 1 talk over one socket pair: an order goes in, reports come out, and as long as both live it stays
// open. Each message is its length (4 bytes, little endian) and JSON; descriptors ride on the length.

// maxMessage bounds a message: an order of 1,000 paths of 4,000 bytes.
const maxMessage = 16 << 20

// An order is all that pid 1 needs to know.
type order struct {
	Trees       []tree       // in the order of the descriptors that come with the message
	Root        []string     // link targets of the lower folders, topmost first
	Upper       string       // link targets
	Work        string       //
	Mounts      []mountOrder // in the order of mounting
	Argv        []string
	Env         []string
	Cwd         string
	Stdin       bool // descriptor 0 is the command's
	Stdout      bool // a pipe for it is wanted
	Stderr      bool
	Merged      bool // Stderr goes where Stdout goes
	Pty         bool
	Later       bool          // the command is in the background of it, until it asks for it
	Size        *unix.Winsize // of the terminal, nil: unknown
	Jobs        bool          // descriptors 4 and 5 are the jobserver's
	Linux32     bool
	Network     bool   // the host's
	Users       bool   // more ids than 0
	Handler     string // for binfmt_misc, "%s" in it is the interpreter; "": none
	Interpreter string // link target
	PidMax      int
	Probe       bool // set up, run nothing
}

// texts are the order's strings that come from outside: bytes, of which JSON would replace what is no UTF-8.
func (o *order) texts() []*string {
	list := []*string{&o.Upper, &o.Work, &o.Cwd, &o.Interpreter}
	all := [][]string{o.Root, o.Argv, o.Env}
	for i := range o.Mounts {
		list = append(list, &o.Mounts[i].At)
		all = append(all, o.Mounts[i].Lowers)
	}
	for _, texts := range all {
		for i := range texts {
			list = append(list, &texts[i])
		}
	}
	return list
}

// wrapped marks a text that is sent in hexadecimal; none of them begins so, as no path and no argument holds it.
const wrapped = "\x00"

// wrap makes the order fit for JSON, and unwrap makes it what it was.
func (o *order) wrap() {
	for _, s := range o.texts() {
		if !utf8.ValidString(*s) {
			*s = wrapped + hex.EncodeToString([]byte(*s))
		}
	}
}

func (o *order) unwrap() {
	for _, s := range o.texts() {
		if text, ok := strings.CutPrefix(*s, wrapped); ok {
			b, _ := hex.DecodeString(text) // what wrap has made
			*s = string(b)
		}
	}
}

// A tree is a detached mount of the host; File tells what kind of mount point it needs.
type tree struct{ File bool }

type mountOrder struct {
	At       string
	Lowers   []string // link targets; one: a bind
	File     bool
	Writable bool
}

// A report is what pid 1 tells. Exactly one of its parts is set.
type report struct {
	Fault  *fault `json:",omitempty"` // nothing was run
	Files  bool   `json:",omitempty"` // comes with the reading ends of the pipes, or with the terminal
	Runs   bool   `json:",omitempty"` // the command is being started
	Asks   bool   `json:",omitempty"` // the command wants to read from its terminal, or to set it
	Exit   *exit  `json:",omitempty"` // the command has ended
	Binfmt string `json:",omitempty"` // a probe's answer: "ok", or why binfmt_misc cannot be mounted
}

type fault struct {
	Step  string
	Errno int // 0: none
	Text  string
	Exec  bool // the command is at fault
}

type exit struct{ Code, Signal int }

func send(fd int, v any, files ...int) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	head := binary.LittleEndian.AppendUint32(nil, uint32(len(b)))
	var oob []byte
	if len(files) > 0 {
		oob = unix.UnixRights(files...)
	}
	if err := unix.Sendmsg(fd, head, oob, nil, unix.MSG_NOSIGNAL); err != nil {
		return err
	}
	for len(b) > 0 {
		n, err := unix.SendmsgN(fd, b, nil, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// receive reads one message into v and returns the descriptors that came with it. It is io.EOF when the other side has
// gone.
func receive(fd int, v any) (files []int, err error) {
	var head [4]byte
	oob := make([]byte, unix.CmsgSpace(4*64))
	n, oobn, err := 0, 0, error(nil)
	for {
		n, oobn, _, _, err = unix.Recvmsg(fd, head[:], oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_WAITALL)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, io.EOF
	}
	if n < len(head) {
		return nil, io.ErrUnexpectedEOF
	}
	if msgs, err := unix.ParseSocketControlMessage(oob[:oobn]); err == nil {
		for i := range msgs {
			fds, err := unix.ParseUnixRights(&msgs[i])
			if err == nil {
				files = append(files, fds...)
			}
		}
	}
	size := binary.LittleEndian.Uint32(head[:])
	if size > maxMessage {
		return files, fmt.Errorf("message of %d bytes", size)
	}
	b := make([]byte, size)
	for got := 0; got < len(b); {
		n, err := unix.Read(fd, b[got:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return files, err
		}
		if n == 0 {
			return files, io.ErrUnexpectedEOF
		}
		got += n
	}
	return files, json.Unmarshal(b, v)
}
