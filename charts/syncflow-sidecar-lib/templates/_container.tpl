{{- /* For the list of initContainers; empty where the sidecar is a container. */ -}}
{{- define "syncflow-sidecar.initContainers" -}}
{{- if include "syncflow-sidecar.native" . -}}
{{- include "syncflow-sidecar.container" (merge (dict "restart" "Always") .) -}}
{{- end -}}
{{- end -}}

{{- /* For the list of containers; empty where the sidecar is an init container. */ -}}
{{- define "syncflow-sidecar.containers" -}}
{{- if not (include "syncflow-sidecar.native" .) -}}
{{- include "syncflow-sidecar.container" . -}}
{{- end -}}
{{- end -}}

{{- define "syncflow-sidecar.container" -}}
- name: syncflow-sidecar
  image: {{ include "syncflow-sidecar.image" . }}
  imagePullPolicy: {{ .values.image.pullPolicy }}
  {{- with .restart }}
  restartPolicy: {{ . }}
  {{- end }}
  args: [run, --config, /etc/syncflow-sidecar/sidecar.yaml]
  {{- with include "syncflow-sidecar.environment" . }}
  {{- . | trim | nindent 2 }}
  {{- end }}
  ports:
    - name: feed
      containerPort: {{ include "syncflow-sidecar.feedPort" . }}
    - name: http-metrics
      containerPort: {{ include "syncflow-sidecar.httpPort" . }}
    {{- with include "syncflow-sidecar.syncPort" . }}
    - name: sync
      containerPort: {{ . }}
    {{- end }}
  {{- with include "syncflow-sidecar.probes" . }}
  {{- . | trim | nindent 2 }}
  {{- end }}
  terminationMessagePolicy: FallbackToLogsOnError
  {{- with .values.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- toYaml .values.securityContext | nindent 4 }}
  volumeMounts:
    {{- include "syncflow-sidecar.configMounts" . | nindent 4 }}
    - name: syncflow-journal
      mountPath: {{ .values.config.journal.directory }}
{{- end -}}

{{- define "syncflow-sidecar.environment" -}}
{{- if or .values.database.existingSecret .values.extraEnv }}
env:
  {{- with .values.database }}
  {{- if .existingSecret }}
  - name: DATABASE_URL
    valueFrom:
      secretKeyRef:
        name: {{ .existingSecret }}
        key: {{ .urlKey }}
  {{- end }}
  {{- end }}
  {{- with .values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- with .values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "syncflow-sidecar.probes" -}}
{{- if .values.probes.startup }}
startupProbe:
  httpGet:
    path: /startupz
    port: http-metrics
  periodSeconds: 2
  failureThreshold: 150
{{- end }}
{{- if .values.probes.liveness }}
livenessProbe:
  httpGet:
    path: /livez
    port: http-metrics
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}
{{- if .values.probes.readiness }}
readinessProbe:
  httpGet:
    path: /readyz
    port: http-metrics
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 3
{{- end }}
{{- end -}}

{{- /* A list of what is mounted as files: the folder's name, the Secret, and which key each file has. */ -}}
{{- define "syncflow-sidecar.secrets" -}}
{{- with .values.database }}
{{- if .passwordSecret }}
- {name: database, secret: {{ .passwordSecret | quote }}, files: {password: {{ .passwordKey | quote }}}}
{{- end }}
{{- end }}
{{- with .values.tokens }}
{{- if .existingSecret }}
- {name: tokens, secret: {{ .existingSecret | quote }}, files: {tokens: {{ .key | quote }}}}
{{- end }}
{{- end }}
{{- with .values.tls }}
{{- if .existingSecret }}
- name: tls
  secret: {{ .existingSecret | quote }}
  files:
    tls.crt: tls.crt
    tls.key: tls.key
    {{- with .clientCaKey }}
    client-ca.crt: {{ . | quote }}
    {{- end }}
{{- end }}
{{- end }}
{{- with .values.httpToken }}
{{- if .existingSecret }}
- {name: http, secret: {{ .existingSecret | quote }}, files: {token: {{ .key | quote }}}}
{{- end }}
{{- end }}
{{- end -}}

{{- /* What a command needs that asks PostgreSQL with the same configuration. */ -}}
{{- define "syncflow-sidecar.configMounts" -}}
- name: syncflow-config
  mountPath: /etc/syncflow-sidecar
  readOnly: true
{{- range include "syncflow-sidecar.secrets" . | fromYamlArray }}
- name: syncflow-{{ .name }}
  mountPath: /run/secrets/syncflow-sidecar/{{ .name }}
  readOnly: true
{{- end }}
{{- with .values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "syncflow-sidecar.configVolumes" -}}
- name: syncflow-config
  configMap:
    name: {{ .name }}
{{- range include "syncflow-sidecar.secrets" . | fromYamlArray }}
- name: syncflow-{{ .name }}
  secret:
    secretName: {{ .secret }}
    items:
      {{- range $file, $key := .files }}
      - key: {{ $key }}
        path: {{ $file }}
      {{- end }}
{{- end }}
{{- with .values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* For the list of the pod's volumes. */ -}}
{{- define "syncflow-sidecar.volumes" -}}
{{ include "syncflow-sidecar.configVolumes" . }}
{{- include "syncflow-sidecar.journalVolume" . }}
{{- end -}}

{{- define "syncflow-sidecar.journalVolume" -}}
{{- $journal := .values.persistence -}}
{{- if eq $journal.kind "existingClaim" }}
- name: syncflow-journal
  persistentVolumeClaim:
    claimName: {{ $journal.existingClaim }}
{{- else if eq $journal.kind "emptyDir" }}
- name: syncflow-journal
  emptyDir:
    sizeLimit: {{ $journal.size }}
{{- else if eq $journal.kind "ephemeral" }}
- name: syncflow-journal
  ephemeral:
    volumeClaimTemplate:
      spec:
        {{- include "syncflow-sidecar.claim" . | nindent 8 }}
{{- end }}
{{- end -}}

{{- define "syncflow-sidecar.claim" -}}
accessModes:
  {{- toYaml .values.persistence.accessModes | nindent 2 }}
{{- with .values.persistence.storageClass }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests:
    storage: {{ .values.persistence.size }}
{{- end -}}

{{- /* For a StatefulSet's volumeClaimTemplates; empty for other kinds of volume. */ -}}
{{- define "syncflow-sidecar.claimTemplates" -}}
{{- if eq .values.persistence.kind "claimTemplate" -}}
- metadata:
    name: syncflow-journal
  spec:
    {{- include "syncflow-sidecar.claim" . | nindent 4 }}
{{- end -}}
{{- end -}}
