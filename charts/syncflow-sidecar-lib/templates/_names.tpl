{{/*
Every template here takes a dict: "root" is the calling chart's `.`, "values" are this library's values, "name" is what the
objects are called.
*/}}

{{- define "syncflow-sidecar.image" -}}
{{- $image := .values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else if eq $image.tag "latest" -}}
{{- fail "sidecar.image.tag latest is refused, since nobody could tell what runs: give a version or sidecar.image.digest" -}}
{{- else -}}
{{ $image.repository }}:{{ $image.tag }}
{{- end -}}
{{- end -}}

{{- /* "true" or nothing. */ -}}
{{- define "syncflow-sidecar.native" -}}
{{- $able := semverCompare ">=1.29.0-0" .root.Capabilities.KubeVersion.Version -}}
{{- $wanted := .values.nativeSidecar -}}
{{- if kindIs "invalid" $wanted -}}
{{- if $able }}true{{ end -}}
{{- else if and $wanted (not $able) -}}
{{- fail (printf "sidecar.nativeSidecar: true needs Kubernetes 1.29 and this is %s: set it to null or false" .root.Capabilities.KubeVersion.Version) -}}
{{- else if $wanted -}}
true
{{- end -}}
{{- end -}}

{{- /* The port of an address in the configuration: of "address", named "setting". */ -}}
{{- define "syncflow-sidecar.port" -}}
{{- $port := regexFind "[0-9]+$" .address -}}
{{- if or (not $port) (eq $port "0") -}}
{{- fail (printf "%s must end in :PORT, and is %q" .setting .address) -}}
{{- end -}}
{{ $port }}
{{- end -}}

{{- /* "true" or nothing. */ -}}
{{- define "syncflow-sidecar.loopback" -}}
{{- if regexMatch "^(127\\.[0-9.]+|localhost|\\[::1\\]):[0-9]+$" . }}true{{ end -}}
{{- end -}}

{{- define "syncflow-sidecar.feedPort" -}}
{{- include "syncflow-sidecar.port" (dict "address" .values.config.feed.listen "setting" "sidecar.config.feed.listen") -}}
{{- end -}}

{{- define "syncflow-sidecar.httpPort" -}}
{{- include "syncflow-sidecar.port" (dict "address" .values.config.http.listen "setting" "sidecar.config.http.listen") -}}
{{- end -}}

{{- /* Nothing where the sync API is off. */ -}}
{{- define "syncflow-sidecar.syncPort" -}}
{{- with (.values.config.sync_api | default dict).listen -}}
{{- include "syncflow-sidecar.port" (dict "address" . "setting" "sidecar.config.sync_api.listen") -}}
{{- end -}}
{{- end -}}

{{- /* A slot has one reader, so more pods would only stand by. "replicas": what the caller wants; prints it. */ -}}
{{- define "syncflow-sidecar.onlyOne" -}}
{{- if gt (int .replicas) 1 -}}
{{- fail (printf "replicas is %d, and a replication slot has one reader: the other pods' feeds would stay empty. Run one, or move the sidecar into a workload of its own" (int .replicas)) -}}
{{- end -}}
{{ int .replicas }}
{{- end -}}
