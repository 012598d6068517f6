package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vfsb/engine/load"
)

// A choice is a flag whose value is one of a few words.
type choice struct {
	value *string
	words []string
}

// choose gives f a flag whose value is one of the words.
func choose(f *pflag.FlagSet, value *string, name, usual, usage string, words ...string) {
	*value = usual
	f.Var(choice{value, words}, name, usage)
}

func (c choice) String() string { return *c.value }
func (c choice) Type() string   { return "string" }

func (c choice) Set(s string) error {
	if !slices.Contains(c.words, s) {
		return fmt.Errorf("is %s", orList(c.words))
	}
	*c.value = s
	return nil
}

func orList(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// exclusion is how cobra notes what MarkFlagsMutuallyExclusive was told.
const exclusion = "cobra_annotation_mutually_exclusive"

// checkUsage makes what is wrong with a command line a usage error with a remedy, and completes the flags that are
// choices.
func checkUsage(c *cobra.Command) {
	for _, sub := range c.Commands() {
		checkUsage(sub)
	}
	args := c.Args
	c.Args = func(cmd *cobra.Command, list []string) error {
		switch {
		case cmd.HasSubCommands() && len(list) > 0:
			return noCommand(cmd, list[0])
		case args(cmd, list) != nil:
			return usageError{fmt.Errorf("wrong number of arguments, %d: write %s%s", len(list), strings.TrimSuffix(cmd.UseLine(), " [flags]"), seeHelp(cmd))}
		}
		var wrong error
		var exclusive []string
		cmd.Flags().Visit(func(f *pflag.Flag) {
			if f.Annotations[exclusion] != nil {
				exclusive = append(exclusive, "--"+f.Name)
			}
			if kind := f.Value.Type(); (kind == "int" || kind == "duration") && strings.HasPrefix(f.Value.String(), "-") {
				wrong = usageError{fmt.Errorf("--%s cannot be negative, and is %s", f.Name, f.Value)}
			}
		})
		if cmd.ValidateFlagGroups() != nil {
			wrong = usageError{fmt.Errorf("%s do not go together%s", strings.Join(exclusive, " and "), seeHelp(cmd))}
		}
		return wrong
	}
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if v, ok := f.Value.(choice); ok {
			c.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(v.words, cobra.ShellCompDirectiveNoFileComp))
		}
	})
}

// flagError says what is wrong with a flag.
func flagError(cmd *cobra.Command, err error) error {
	if args := cmd.Flags().Args(); cmd.HasSubCommands() && len(args) > 0 {
		return noCommand(cmd, args[0]) // to which the flag belongs
	}
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		name := unknown.GetSpecifiedName()
		if shorts := unknown.GetSpecifiedShortnames(); shorts != "" { // -name is a row of them
			name = shorts
		}
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
		if remedy := load.Suggest("--"+name, names); remedy != "" {
			return usageError{fmt.Errorf("%w%s", err, remedy)}
		}
	case errors.As(err, &invalid):
		f := invalid.GetFlag()
		if _, ok := f.Value.(choice); ok {
			return usageError{fmt.Errorf("--%s %w, not %q", f.Name, errors.Unwrap(invalid), invalid.GetValue())}
		}
		if kind := kinds[f.Value.Type()]; kind != "" {
			err = fmt.Errorf("--%s: %q is not %s", f.Name, invalid.GetValue(), kind)
		}
	}
	return usageError{fmt.Errorf("%w%s", err, seeHelp(cmd))}
}

// kinds is what flags of a type hold.
var kinds = map[string]string{"int": "a number", "uint64": "a number", "duration": "a duration, such as 90s or 2h"}

// noCommand says that cmd has no command of that name.
func noCommand(cmd *cobra.Command, name string) error {
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	remedy := load.Suggest(name, names)
	if remedy == "" {
		remedy = seeHelp(cmd)
	}
	return usageError{fmt.Errorf("no command %q%s", strings.TrimPrefix(cmd.CommandPath()+" "+name, "vfsb "), remedy)}
}

func seeHelp(cmd *cobra.Command) string {
	return "; see vfsb help" + strings.TrimPrefix(cmd.CommandPath(), "vfsb")
}
