package contract_test

import (
	"errors"
	"strings"
	"testing"

	"longshore/internal/contract"
)

func TestParseRecipeBoundsTheFile(t *testing.T) {
	_, err := contract.ParseRecipe([]byte("FROM busybox\n" + strings.Repeat("# x\n", 1<<18)))
	if e, ok := errors.AsType[*contract.SyntaxError](err); !ok || !strings.HasSuffix(e.Reason, "more than 1 MiB") {
		t.Errorf("a Dockerfile of more than 1 MiB: %v", err)
	}
	if _, err := contract.ParseRecipe([]byte("FROM busybox\n")); err != nil {
		t.Error(err)
	}
}
