package load

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

// Format returns the text of an HCL file in its canonical layout. Only white space changes, and none within a heredoc:
// scripts are bash, and their text is in keys. What is not valid HCL comes back as it is, with the diagnostics.
func Format(name string, text []byte) ([]byte, hcl.Diagnostics) {
	if _, diags := parseText(name, text); diags.HasErrors() {
		return text, diags
	}
	frame, heredocs := cutHeredocs(text)
	return pasteHeredocs(hclwrite.Format(frame), heredocs), nil
}

// cutHeredocs returns text without the lines within heredocs, and these, by heredoc. hclwrite would take what a raw
// script holds for HCL's own templates.
func cutHeredocs(text []byte) (frame []byte, heredocs [][]byte) {
	lines := bytes.SplitAfter(text, []byte("\n"))
	kept := 0 // lines that are in frame or in heredocs
	for _, span := range heredocSpans(rawHeredocs(text)) {
		frame = append(frame, bytes.Join(lines[kept:span.first], nil)...)
		heredocs = append(heredocs, bytes.Join(lines[span.first:span.end], nil))
		kept = span.end
	}
	return append(frame, bytes.Join(lines[kept:], nil)...), heredocs
}

// pasteHeredocs undoes cutHeredocs.
func pasteHeredocs(frame []byte, heredocs [][]byte) []byte {
	var text []byte
	lines := bytes.SplitAfter(frame, []byte("\n"))
	pasted := 0
	for i, span := range heredocSpans(frame) {
		text = append(text, bytes.Join(lines[pasted:span.first], nil)...)
		text = append(text, heredocs[i]...)
		pasted = span.first
	}
	return append(text, bytes.Join(lines[pasted:], nil)...)
}

// A lineSpan is the lines from first to before end, counted from 0.
type lineSpan struct{ first, end int }

// heredocSpans lists the lines within the heredocs of valid HCL, those within another's interpolation aside.
func heredocSpans(text []byte) (list []lineSpan) {
	tokens, _ := hclsyntax.LexConfig(text, "", hcl.InitialPos)
	depth := 0
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenOHeredoc: // its newline included
			if depth == 0 {
				list = append(list, lineSpan{first: t.Range.End.Line - 1})
			}
			depth++
		case hclsyntax.TokenCHeredoc: // its indentation included
			if depth--; depth == 0 {
				list[len(list)-1].end = t.Range.Start.Line - 1
			}
		}
	}
	return list
}

// WriteFile replaces the content of the file path at once, so that a kill or a full disk leaves the old one. The mode
// stays, and so does a link that leads to the file.
func WriteFile(path string, text []byte) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // gone after the rename
	_, err = tmp.Write(text)
	err = errors.Join(err, tmp.Chmod(info.Mode().Perm()), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
