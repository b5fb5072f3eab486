// Command health says what GitOps tools make of an object: kstatus (Flux, kpt), and Argo CD, which
// runs a Lua script. It reads one object as JSON from standard input, and takes the script's path
// as its only argument. It prints JSON: {"kstatus": STATUS, "argo": {"status": ..., "message": ...}}.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "health:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: health SCRIPT < OBJECT")
	}
	object := map[string]any{}
	if err := json.NewDecoder(os.Stdin).Decode(&object); err != nil {
		return err
	}
	argo, err := argo(os.Args[1], object)
	if err != nil {
		return err
	}
	// kstatus takes numbers as the API's machinery reads them.
	raw, err := json.Marshal(object)
	if err != nil {
		return err
	}
	typed := &unstructured.Unstructured{}
	if err := typed.UnmarshalJSON(raw); err != nil {
		return err
	}
	result, err := status.Compute(typed)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"kstatus": result.Status, "argo": argo})
}

// argo runs the script as Argo CD does: the object is the global `obj`, and the script returns a
// table with status and message.
func argo(script string, object map[string]any) (map[string]string, error) {
	state := lua.NewState()
	defer state.Close()
	state.SetGlobal("obj", value(state, object))
	if err := state.DoFile(script); err != nil {
		return nil, err
	}
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return nil, fmt.Errorf("%s returns no table", script)
	}
	found := map[string]string{}
	table.ForEach(func(key, value lua.LValue) { found[key.String()] = value.String() })
	return found, nil
}

func value(state *lua.LState, from any) lua.LValue {
	switch from := from.(type) {
	case map[string]any:
		table := state.NewTable()
		for key, item := range from {
			table.RawSetString(key, value(state, item))
		}
		return table
	case []any:
		table := state.NewTable()
		for _, item := range from {
			table.Append(value(state, item))
		}
		return table
	case string:
		return lua.LString(from)
	case float64:
		return lua.LNumber(from)
	case bool:
		return lua.LBool(from)
	default:
		return lua.LNil
	}
}
