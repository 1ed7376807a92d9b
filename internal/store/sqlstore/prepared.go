package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"sync"
)

// maxPrepared bounds how many statements stay prepared. There are fewer, but for lists with unusual filters.
const maxPrepared = 300

// prepared keeps statements prepared, by their text, on a database or on one connection of it. It is safe for concurrent use.
type prepared struct {
	on interface {
		reader
		PrepareContext(ctx context.Context, text string) (*sql.Stmt, error)
	}
	mu    sync.Mutex
	stmts map[string]*sql.Stmt
}

// statement answers a prepared one, nil when there are too many.
func (p *prepared) statement(ctx context.Context, text string) (*sql.Stmt, error) {
	p.mu.Lock()
	stmt, full := p.stmts[text], len(p.stmts) >= maxPrepared
	p.mu.Unlock()
	if stmt != nil || full {
		return stmt, nil
	}
	// Outside the lock: it may wait for a connection.
	stmt, err := p.on.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if earlier := p.stmts[text]; earlier != nil {
		return earlier, stmt.Close()
	}
	if p.stmts == nil {
		p.stmts = map[string]*sql.Stmt{}
	}
	p.stmts[text] = stmt
	return stmt, nil
}

// QueryContext implements reader.
func (p *prepared) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	stmt, err := p.statement(ctx, text)
	if err != nil {
		return nil, err
	}
	if stmt == nil {
		return p.on.QueryContext(ctx, text, args...)
	}
	return stmt.QueryContext(ctx, args...)
}

// QueryRowContext implements reader.
func (p *prepared) QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row {
	stmt, err := p.statement(ctx, text)
	if err != nil || stmt == nil {
		return p.on.QueryRowContext(ctx, text, args...) // which meets the same error, if there was one
	}
	return stmt.QueryRowContext(ctx, args...)
}

// Close closes the statements.
func (p *prepared) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, stmt := range p.stmts {
		errs = append(errs, stmt.Close())
	}
	p.stmts = nil
	return errors.Join(errs...)
}
