{{- /* sidecar.yaml as the program reads it. */ -}}
{{- define "syncflow-sidecar.config" -}}
{{- include "syncflow-sidecar.check" . -}}
{{- $config := deepCopy .values.config -}}
{{- if .values.database.passwordSecret -}}
{{- $_ := set $config.postgres "password_file" "/run/secrets/syncflow-sidecar/database/password" -}}
{{- end -}}
{{- if .values.tokens.existingSecret -}}
{{- $_ := set $config.feed "tokens_file" "/run/secrets/syncflow-sidecar/tokens/tokens" -}}
{{- end -}}
{{- with .values.tls -}}
{{- if .existingSecret -}}
{{- $tls := dict "certificate" "/run/secrets/syncflow-sidecar/tls/tls.crt" "key" "/run/secrets/syncflow-sidecar/tls/tls.key" -}}
{{- if .clientCaKey -}}
{{- $_ := set $tls "client_ca" "/run/secrets/syncflow-sidecar/tls/client-ca.crt" -}}
{{- end -}}
{{- $_ := set $config.feed "tls" $tls -}}
{{- end -}}
{{- end -}}
{{- if .values.httpToken.existingSecret -}}
{{- $_ := set $config.http "token_file" "/run/secrets/syncflow-sidecar/http/token" -}}
{{- end -}}
{{ toYaml $config }}
{{- end -}}

{{- define "syncflow-sidecar.configmap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  {{- with .labels }}
  labels:
    {{- toYaml . | nindent 4 }}
  {{- end }}
data:
  sidecar.yaml: |
    {{- include "syncflow-sidecar.config" . | nindent 4 }}
{{- end -}}

{{- /* No setting changes in a running sidecar, so another configuration means another pod. Labels do not count. */ -}}
{{- define "syncflow-sidecar.annotations" -}}
checksum/syncflow-sidecar-config: {{ include "syncflow-sidecar.config" . | sha256sum }}
{{- end -}}
