{{- define "app.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- /* At most 52 characters, since Kubernetes appends to a StatefulSet's name. */ -}}
{{- define "app.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if contains (include "app.name" .) .Release.Name -}}
{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name (include "app.name" .) | trunc 52 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "app.selector" -}}
app.kubernetes.io/name: {{ include "app.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- /* Of the pod: what no upgrade and no label of all objects changes, since another label is another pod. */ -}}
{{- define "app.podLabels" -}}
{{ include "app.selector" . }}
app.kubernetes.io/component: change-data-capture
app.kubernetes.io/part-of: syncflow
{{- end -}}

{{- define "app.labels" -}}
{{ include "app.podLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* metadata of an object; "labels" are added. */ -}}
{{- define "app.metadata" -}}
name: {{ .name | default (include "app.fullname" .root) }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "app.labels" .root | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "app.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "app.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{- /* "monitor" is .Values.serviceMonitor or podMonitor. */ -}}
{{- define "app.endpoint" -}}
- port: http-metrics
  path: /metrics
  interval: {{ .interval }}
  {{- with .scrapeTimeout }}
  scrapeTimeout: {{ . }}
  {{- end }}
  {{- with .relabelings }}
  relabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .metricRelabelings }}
  metricRelabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "app.check" -}}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled -}}
{{- fail "serviceMonitor and podMonitor are both enabled, and every sample would be stored twice: choose one" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled (not .Values.service.enabled) -}}
{{- fail "serviceMonitor needs the Service: set service.enabled, or use podMonitor" -}}
{{- end -}}
{{- if and .Values.prometheusRule.enabled (not (contains "syncflow" (include "app.name" .))) -}}
{{- fail (printf "the alerts watch scrape jobs whose name holds syncflow, and nameOverride makes it %q: choose another name, or use fullnameOverride" (include "app.name" .)) -}}
{{- end -}}
{{- if and .Values.prometheusRule.disabled .Values.prometheusRule.enabled -}}
{{- include "app.checkDisabled" . -}}
{{- end -}}
{{- end -}}
