package image

import (
	"encoding/json"
	"time"
)

// configFile is an image configuration as Docker and the OCI image specification have it. Unlike the registry library's
// it keeps Healthcheck.StartInterval, and it is written in one fixed order, so that equal images have equal digests.
type configFile struct {
	Architecture  string         `json:"architecture"`
	Author        string         `json:"author,omitempty"`
	Config        configRun      `json:"config"`
	Created       *time.Time     `json:"created,omitempty"`
	History       []configChange `json:"history,omitempty"`
	OS            string         `json:"os"`
	OSVersion     string         `json:"os.version,omitempty"`
	RootFS        configRootFS   `json:"rootfs"`
	Variant       string         `json:"variant,omitempty"`
	DockerVersion string         `json:"docker_version,omitempty"`
}

type configRootFS struct {
	Type    string   `json:"type"`
	DiffIDs []Digest `json:"diff_ids"`
}

type configChange struct {
	Created    *time.Time `json:"created,omitempty"`
	CreatedBy  string     `json:"created_by,omitempty"`
	Author     string     `json:"author,omitempty"`
	Comment    string     `json:"comment,omitempty"`
	EmptyLayer bool       `json:"empty_layer,omitempty"`
}

// configRun is what a container of the image starts with.
type configRun struct {
	User         string              `json:"User,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Env          []string            `json:"Env,omitempty"`
	Entrypoint   []string            `json:"Entrypoint,omitempty"`
	Cmd          []string            `json:"Cmd,omitempty"`
	Healthcheck  *configHealth       `json:"Healthcheck,omitempty"`
	ArgsEscaped  bool                `json:"ArgsEscaped,omitempty"`
	Volumes      map[string]struct{} `json:"Volumes,omitempty"`
	WorkingDir   string              `json:"WorkingDir,omitempty"`
	OnBuild      []string            `json:"OnBuild,omitempty"`
	Labels       map[string]string   `json:"Labels,omitempty"`
	StopSignal   string              `json:"StopSignal,omitempty"`
	StopTimeout  *int                `json:"StopTimeout,omitempty"`
	Shell        []string            `json:"Shell,omitempty"`
}

type configHealth struct {
	Test          []string      `json:"Test,omitempty"`
	Interval      time.Duration `json:"Interval,omitempty"`
	Timeout       time.Duration `json:"Timeout,omitempty"`
	StartPeriod   time.Duration `json:"StartPeriod,omitempty"`
	StartInterval time.Duration `json:"StartInterval,omitempty"`
	Retries       int           `json:"Retries,omitempty"`
}

// parseConfig reads an image configuration.
func parseConfig(what string, b []byte) (*configFile, error) {
	var c configFile
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, &Error{Kind: KindCorrupt, What: what, Why: "its configuration is not what it should be: " + err.Error(), Err: err}
	}
	for _, d := range c.RootFS.DiffIDs {
		if !d.Valid() {
			return nil, &Error{Kind: KindCorrupt, What: what, Why: "its configuration names a layer " + quoteText(string(d)) + ", which is no sha256 digest"}
		}
	}
	return &c, nil
}
