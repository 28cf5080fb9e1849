SELECT trace, id FROM chosen WHERE /* passed */
